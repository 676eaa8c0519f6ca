"""Chaos on a real containerd: containers come and go while everything that can break breaks (`hack/chaos.py` runs it).

world       the devices, specs and kinds of containers, and what exactly each container is to have
judge       a container as it runs, compared with that: pure
ledger      what happened when: faults, calls, spans, findings; whether a fault hit a request
load        the threads that create, start, look at and remove containers
faults_*    the threads that break the agents, the spec files and nodes, the runtime
observer    NRI plugins of the harness before and behind ours: whose time is it?
beat        a metronome: when did the machine itself stand still?
slots       the agents, of two versions
variant     the agent, slowed or with its refusals off
delays      from the observers' notes to "held up by us": pure
storm       one seeded run of all that
proxy, steps   one cut of the NRI connection at each step of the protocol
link        the runtime restarted again and again
"""

"""Every unusual container of docs/data/outcomes.toml on real containerd: one outcome, one text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from lab.agent import CHECKOUT
from lab.config import NRI_SOCKET
from lab.cri import CriError
from lab.outcomes import LOOK, SPEC, Outcome, load
from lab.trouble import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.served import Served

EVENT_MAX = 1024
"""What the API server takes as the text of an event."""


@pytest.fixture
def prepared(served: Served) -> Served:
    """The agent with the second spec beside the mock devices."""
    _ = served.agent
    served.write_spec("other.json", SPEC)
    return served


@pytest.fixture(scope="module")
def rivals(serving_node: Served) -> Iterator[None]:
    """Two other NRI plugins, one before and one behind the agent."""
    sandbox = serving_node.node.sandbox
    programs = []
    for index in ("05", "90"):
        log = f"/var/log/rival-{index}"
        sandbox.path(log).write_text("")
        script = str(CHECKOUT / "hack/lab/rival.py")
        programs.append(sandbox.popen([sys.executable, script, NRI_SOCKET, index], log))

        def works(log: str = log) -> bool:
            return "at work" in sandbox.path(log).read_text()

        wait_until(works, 10, f"rival {index}")
    yield
    for program in programs:
        program.kill()


@pytest.mark.usefixtures("rivals")
@pytest.mark.parametrize("outcome", [pytest.param(one, id=one.name) for one in load()])
def test_it_has_the_outcome_that_is_documented(prepared: Served, outcome: Outcome) -> None:
    config = outcome.config(prepared.prefix)
    pod = prepared.node.pod(annotations=config.annotations if outcome.on_pod else None)
    if not outcome.refused:
        container = prepared.container(config, pod).start()
        assert " ".join(container.sh(LOOK)[1].split()) == outcome.inside
        return
    with pytest.raises(CriError) as caught:
        prepared.container(config, pod).start()
    text = caught.value.details
    assert outcome.refused in text
    assert len(text) <= EVENT_MAX
    if outcome.reason:
        refusal = prepared.refused_as(caught.value)
        assert refusal.reason == outcome.reason
        assert f'nri-cdi: container "c" of pod "default/{pod.name}"' in refusal.text

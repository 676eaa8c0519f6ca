"""The decision over a container that is being created: an adjustment, or a refusal that says why. Pure.

    names -> resolved edits -> nodes filled from the host -> promise -> less what is there already -> can this runtime do it?

The adjustment holds only what the container does not have yet: two plugins that set the same thing fail the creation, even
for equal values, and where the runtime's own CDI has been at work everything is there already.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nri_cdi.allocation import mark_key
from nri_cdi.cdi import InjectionError, UnresolvedDevices, fill
from nri_cdi.cdi.paths import clean
from nri_cdi.host.root import Presence

from .expressible import check
from .marks import mark
from .policy import ALLOW_ALL
from .policy import check as allowed
from .promise import READ_WRITE, Promise, PromisedNode, promise
from .refusals import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nri_cdi.cdi import ContainerEdits, DeviceNode, Snapshot
    from nri_cdi.host.root import HostRoot

    from .keys import Keys
    from .policy import Policy
    from .refusals import Subject
    from .request import Hook, Mount, Node, Shown
    from .runtime import Capabilities


@dataclass(frozen=True, slots=True)
class Decision:
    """What a container gets: what it has not yet, the marks to leave, the guards to lift."""

    names: tuple[str, ...]
    missing: Promise
    """A node here has the access that the container is to have for it in the end."""
    marks: Mapping[str, str]
    """By annotation key; only those that are not there yet."""
    guards: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the container has everything already: an instance of ours before us has been at work."""
        return self.missing.is_empty and not self.marks and not self.guards


def decide(
    container: Shown,
    carried: Keys,
    snapshot: Snapshot,
    host: HostRoot,
    runtime: Capabilities,
    policy: Policy = ALLOW_ALL,
) -> Decision:
    """The decision over a container that is being created and carries these keys. Raises Refusal."""
    edits = resolve(carried.names, snapshot, container.subject)
    filled = tuple(fill_from(host, node, container.subject) for node in edits.device_nodes)
    promised = _respelled(promise(edits, filled, container.uid, container.gid), container)
    allowed(policy, carried.names, promised, container.subject)
    marks = _marks(carried, promised, snapshot, container)
    modes = frozenset(node.path for node in edits.device_nodes if node.file_mode is not None)
    missing = _missing(promised, container, modes, before_us=bool(carried.own) and not marks)
    check(edits, promised, missing, container, runtime)
    _check_sources(missing, host, container.subject)
    return Decision(carried.names, missing, marks, carried.guards)


def resolve(names: tuple[str, ...], snapshot: Snapshot, subject: Subject) -> ContainerEdits:
    """The combined edits of these devices. Raises Refusal, which explains the first name that does not resolve."""
    missing = [name for name in names if snapshot.device(name) is None]
    if not missing:
        return snapshot.resolve(names)
    try:
        snapshot.resolve(missing[:1])  # one is explained: an explanation looks through all devices
    except UnresolvedDevices as error:
        detail = error.details[0]
        more = f" (and {len(missing) - 1} other names)" if len(missing) > 1 else ""
        searched = "" if detail.paths else f" (searched {', '.join(error.searched) or 'nothing'})"
        raise Refusal(
            Reason.UNRESOLVABLE_DEVICE,
            subject,
            f"unresolvable CDI device {detail}{searched}{more}",
            "it is tried again; nri-cdi cdi devices shows what the node has",
        ) from error
    raise AssertionError("the snapshot resolves a device that it does not have")


def fill_from(host: HostRoot, node: DeviceNode, subject: Subject) -> DeviceNode:
    """The node with type and numbers, from the host where the spec leaves them open. Raises Refusal."""
    try:
        return fill(node, host)
    except InjectionError as error:
        path = node.host_path or node.path
        presence = host.presence(path)
        if presence is Presence.NOT_VISIBLE:
            what = f"the type and numbers of the device node {path} are not in its CDI spec, and {path} is not visible to nri-cdi"
            todo = "give nri-cdi sight of the host's /dev (--host-root), or write type, major and minor into the spec"
        elif presence is Presence.ABSENT:
            what = f"its CDI devices take the device node {path}, and there is none on the host"
            todo = "it is tried again; is the driver loaded?"
        else:
            what, todo = f"the {error.subject} of its CDI devices: {error.reason}", "it is tried again"
        raise Refusal(Reason.DEVICE_NODE_MISSING, subject, what, todo) from error


def _respelled(promised: Promise, container: Shown) -> Promise:
    """Mounts under the pod's own spelling of the destination: `/mnt/v/` and `/mnt/v` would both be mounted, one hiding the other."""
    spelled = {clean(mount.destination): mount.destination for mount in container.mounts}
    mounts = {}
    for mount in promised.mounts.values():
        destination = spelled.get(clean(mount.destination), mount.destination)
        same = destination == mount.destination
        mounts[destination] = mount if same else replace(mount, destination=destination)
    return replace(promised, mounts=mounts)


def _missing(promised: Promise, container: Shown, modes: frozenset[str], *, before_us: bool) -> Promise:
    """What of the promise the container does not have yet. `modes` are the paths of the nodes whose mode the spec itself gives.

    `before_us`: all marks are there, so an instance of ours has been at work in this very request; the rules of its nodes are not made yet.
    """
    there = Counter(container.hooks)
    hooks: list[Hook] = []
    for hook in promised.hooks:
        if there[hook]:
            there[hook] -= 1
        else:
            hooks.append(hook)
    present = {mount.destination: mount for mount in container.mounts}
    return Promise(
        nodes={
            path: _with_access(item, container)
            for path, item in promised.nodes.items()
            if not (_has(item, container, modes) and (before_us or _access(item.node, container) >= item.access))
        },
        mounts={at: mount for at, mount in promised.mounts.items() if not _same(mount, present.get(at))},
        env={name: value for name, value in promised.env.items() if container.env.get(name) != value},
        hooks=tuple(hooks),
    )


def _with_access(item: PromisedNode, container: Shown) -> PromisedNode:
    """The node with what the container may do already, which nobody may take from it: CDI's rules only ever add."""
    access = container.access(item.node)
    return item if access <= item.access else replace(item, access=item.access | access)


def _has(item: PromisedNode, container: Shown, modes: frozenset[str]) -> bool:
    """Whether the container has the node already. What the promise leaves open may be anything.

    A runtime's own CDI before 2.4 does not take the mode from the host; sending the node again for that would widen its rule.
    """
    wanted, there = item.node, container.nodes.get(item.node.path)
    if there is None or (there.type, there.major, there.minor) != (wanted.type, wanted.major, wanted.minor):
        return False
    mode = wanted.file_mode if wanted.path in modes or there.file_mode is not None else None
    settings = ((mode, there.file_mode), (wanted.uid, there.uid), (wanted.gid, there.gid))
    return all(mine is None or mine == theirs for mine, theirs in settings)


def _access(node: Node, container: Shown) -> frozenset[str]:
    """What the device cgroup is going to allow for a node that the container has while it is being created.

    A plugin before us has brought the node that has no rule yet: the runtime makes one when all plugins have answered, for
    reading and writing, before the rules of plugins, which take something away.
    """
    own = [rule for rule in container.rules if rule.names(node)]
    if any(rule.allow for rule in own):
        return container.access(node)
    return container.access(node) | READ_WRITE - {letter for rule in own for letter in rule.access}


def _same(mount: Mount, there: Mount | None) -> bool:
    return there is not None and (mount.source, mount.type, sorted(mount.options)) == (
        there.source,
        there.type,
        sorted(there.options),
    )


def _check_sources(missing: Promise, host: HostRoot, subject: Subject) -> None:
    """A bind mount of a path that is not there fails only at start, with a text that does not say whose it is."""
    for mount in missing.mounts.values():
        bind = not {"bind", "rbind"}.isdisjoint(mount.options)
        if bind and mount.source.startswith("/") and host.presence(mount.source) is Presence.ABSENT:
            raise Refusal(
                Reason.MOUNT_SOURCE_MISSING,
                subject,
                f"its CDI devices mount {mount.source} on {mount.destination}, and there is no {mount.source} on the host",
                "it is tried again; install what provides it, or correct the spec",
            )


def _marks(carried: Keys, promised: Promise, snapshot: Snapshot, container: Shown) -> dict[str, str]:
    """The marks that are not there yet. One that is there must say the same.

    Raises Refusal when another instance of ours promised something else just before: the specs change at this moment.
    """
    marks = {}
    for name, names in carried.own.items():
        alone = len(carried.own) == 1 and not carried.foreign
        key, value = mark_key(name), mark(promised if alone else _share(promised, snapshot.resolve(names)))
        there = container.annotations.get(key)
        if there is None:
            marks[key] = value
        elif there != value:
            raise Refusal(
                Reason.SPECS_UNSETTLED,
                container.subject,
                "its CDI specs are changing at this moment",
                "it is tried again",
            )
    return marks


def _share(promised: Promise, edits: ContainerEdits) -> Promise:
    """The part of the merged promise that belongs to one allocation."""
    paths = {node.path for node in edits.device_nodes}
    places = {clean(mount.container_path) for mount in edits.mounts}
    variables = {entry.partition("=")[0] for entry in edits.env}
    hooks = {(hook.hook_name, hook.path, hook.args, hook.env, hook.timeout) for hook in edits.hooks}
    return Promise(
        nodes={path: item for path, item in promised.nodes.items() if path in paths},
        mounts={at: mount for at, mount in promised.mounts.items() if clean(at) in places},
        env={name: value for name, value in promised.env.items() if name in variables},
        hooks=tuple(h for h in promised.hooks if (h.kind, h.path, h.args, h.env, h.timeout) in hooks),
    )

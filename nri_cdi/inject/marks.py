"""The mark that CreateContainer leaves for each allocation: what was promised, as digests. Pure.

The start gate compares the container it is shown with the mark, so the mark proves the devices and not only that we answered. A mark is the
sorted digests of the promised items joined by blanks; an item is a node with its numbers and access, a mount, a variable or a hook. The
digests alone say which items must be there: nothing has to be resolved again, so a spec that changed since does not matter.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from nri_cdi.digest import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .promise import Promise
    from .request import Hook, Mount, Node, Shown

EMPTY: Final = "-"
"""The mark of an allocation whose devices promise nothing of their own."""


def mark(promised: Promise) -> str:
    """The mark of a promise (of one allocation's share of it)."""
    digests = {
        *(_node(item.node, item.access) for item in promised.nodes.values()),
        *(_mount(mount) for mount in promised.mounts.values()),
        *(_variable(name, value) for name, value in promised.env.items()),
        *(_hook(hook) for hook in promised.hooks),
    }
    return " ".join(sorted(digests)) or EMPTY


def broken(value: str, container: Shown) -> int:
    """How many items of the mark `value` the container does not have. Something that is no mark counts as one."""
    wanted = set() if value == EMPTY else set(value.split(" "))
    return len(wanted - set(_items(container)))


def _items(container: Shown) -> Iterator[str]:
    """The digests of all that a container has. A node counts for each access that is part of what the cgroup allows."""
    for node in container.nodes.values():
        allowed = sorted(container.access(node))
        for count in range(len(allowed) + 1):
            yield from (_node(node, part) for part in itertools.combinations(allowed, count))
    yield from map(_mount, container.mounts)
    yield from (_variable(name, value) for name, value in container.env.items())
    yield from map(_hook, container.hooks)


def _node(node: Node, access: Iterable[str]) -> str:
    return digest("node", node.path, node.type, node.major, node.minor, "".join(sorted(access)))


def _mount(mount: Mount) -> str:
    return digest("mount", mount.destination, mount.source, mount.type, *sorted(mount.options))


def _variable(name: str, value: str) -> str:
    return digest("env", name, value)


def _hook(hook: Hook) -> str:
    timeout = "" if hook.timeout is None else hook.timeout
    return digest("hook", hook.kind, hook.path, timeout, len(hook.args), *hook.args, *hook.env)

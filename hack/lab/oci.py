"""Two OCI specs compared: what two containers of one kind differ in, as pairs of values by JSON pointer. Pure, but for asking the runtime."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lab.pods import Container

MISSING: Final = "(missing)"
"""Stands for a value that one of the two specs does not have."""

_KEYED: Final = {"/mounts": "destination", "/linux/devices": "path"}


def comparable(container: Container) -> dict[str, Any]:
    """The container's OCI spec with its own names and ids, and its pod's, replaced by words."""
    text = json.dumps(container.spec())
    pod = container.pod
    words = {
        container.id: "CONTAINER-ID",
        pod.id: "POD-ID",
        pod.config.metadata.uid: "POD-UID",
        pod.node.sandbox.name: "SANDBOX",
        f'"{pod.name}"': '"POD"',
    }
    for own, word in words.items():
        text = text.replace(own, word)
    spec: dict[str, Any] = json.loads(re.sub(r"/proc/\d+/ns/", "/proc/POD-PID/ns/", text))
    return spec


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[object, object]]:
    """What differs, by JSON pointer: the value in `one` and the value in `other`.

    Mounts are found by destination, devices by path and variables by name; a different order of the same ones is a difference at
    `<list>#order`.
    """
    mine, theirs = _flat(one), _flat(other)
    pairs = {at: (mine.get(at, MISSING), theirs.get(at, MISSING)) for at in sorted(mine.keys() | theirs.keys())}
    return {at: pair for at, pair in pairs.items() if pair[0] != pair[1] and not _same_members(at, *pair)}


def _same_members(at: str, mine: object, theirs: object) -> bool:
    """Whether this is an order of lists that do not have the same members: that is said at the members already."""
    if not at.endswith("#order") or not isinstance(mine, list) or not isinstance(theirs, list):
        return False
    return [key for key in mine if key in theirs] == [key for key in theirs if key in mine]


def _flat(value: object, at: str = "") -> dict[str, object]:
    """Every leaf of a JSON value by its pointer (RFC 6901), lists with keys by their keys."""
    if isinstance(value, dict) and value:
        items = {str(key): item for key, item in value.items()}
    elif isinstance(value, list) and value:
        items, order = _items(value, at)
        if order is not None:
            return {f"{at}#order": order} | _branches(items, at)
    else:
        return {at: value}
    return _branches(items, at)


def _branches(items: dict[str, object], at: str) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, item in items.items():
        result |= _flat(item, f"{at}/{key.replace('~', '~0').replace('/', '~1')}")
    return result


def _items(value: list[Any], at: str) -> tuple[dict[str, object], list[str] | None]:
    """The members of a list by key, and the order of the keys; by index, and None, for a list without keys."""
    if at in _KEYED:
        keys = [str(item[_KEYED[at]]) for item in value]
    elif at == "/process/env":
        keys = [str(item).partition("=")[0] for item in value]
    else:
        return {str(number): item for number, item in enumerate(value)}, None
    # one that is there twice gets a number behind it: nothing is left out
    named = [key if keys.index(key) == number else f"{key}#{number}" for number, key in enumerate(keys)]
    return dict(zip(named, value, strict=True)), named

"""Allocations of the kubelet's checkpoint and injections of the NRI halves, joined by the id in the key: what became of each. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nri_cdi.account import Account, Injection
    from nri_cdi.kubelet.carried import Carried


class State(enum.StrEnum):
    """What became of an allocation."""

    INJECTED = "injected"
    """Its container has its devices."""
    FAULTY = "faulty"
    """Its container does not have all that was promised."""
    WAITING = "waiting"
    """No container has it now: it is still to be created, or has been removed."""
    GONE = "gone"
    """An NRI half knows of it and the kubelet does not: the pod has ended, or no kubelet made it."""
    UNKNOWN = "unknown"
    """Nobody who must know was there to be asked."""


@dataclass(frozen=True, slots=True)
class Row:
    """An allocation and what became of it. What nobody knew is empty."""

    allocation: str
    state: State
    pod: str
    """`namespace/name`, which the NRI half knows."""
    pod_uid: str
    """Which the kubelet knows; and so with the resource."""
    container: str
    container_id: str
    resource: str
    devices: tuple[str, ...]
    """Device ids, or qualified names where the kubelet does not know of it."""
    fault: str = ""


def join(allocations: Sequence[Carried] | None, accounts: Iterable[Account]) -> list[Row]:
    """The allocations (None: nobody could read them) with what the NRI halves of the node know: a row for each id that anybody knows.

    Those of the checkpoint come first, in its order. Halves that are not synchronised with the runtime are heard only where none is; among those heard
    a fault goes before its absence, for a half that was not asked about a start knows nothing of it.
    """
    accounts = list(accounts)
    synchronized = [account for account in accounts if account.synchronized]
    injections: dict[str, Injection] = {}
    for account in synchronized or accounts:
        for allocation, injection in account.injections.items():
            if allocation not in injections or injection.fault:
                injections[allocation] = injection
    absent = State.UNKNOWN if all(account.left_out for account in synchronized) else State.WAITING
    rows = [_allocated(one, injections.pop(one.allocation, None), absent) for one in allocations or ()]
    rest = State.GONE if allocations is not None else None
    return rows + [_injected(allocation, one, rest or _state(one)) for allocation, one in injections.items()]


def _allocated(one: Carried, found: Injection | None, absent: State) -> Row:
    if found is None:
        return Row(one.allocation, absent, "", one.pod_uid, one.container, "", one.resource, one.devices)
    return Row(
        one.allocation,
        _state(found),
        f"{found.namespace}/{found.pod}",
        one.pod_uid,
        one.container,
        found.container_id,
        one.resource,
        one.devices,
        found.fault,
    )


def _injected(allocation: str, one: Injection, state: State) -> Row:
    pod, devices = f"{one.namespace}/{one.pod}", tuple(one.devices.split(","))
    return Row(allocation, state, pod, "", one.container, one.container_id, "", devices, one.fault)


def _state(injection: Injection) -> State:
    return State.FAULTY if injection.fault else State.INJECTED

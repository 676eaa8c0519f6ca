"""`nri-cdi status`: whether the halves stand on this node, and what became of each allocation."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.cli.serve import add_settings, settings_of
from nri_cdi.cli.table import table
from nri_cdi.kubelet.directories import Directories
from nri_cdi.settings import SettingsError

if TYPE_CHECKING:
    import argparse
    import pathlib
    from collections.abc import Mapping, Sequence

    from nri_cdi.kubelet.joined import Row
    from nri_cdi.readiness import Answered
    from nri_cdi.settings import Settings


_ANSWER: Final = 2.0
"""Seconds for the kubelet half to answer; it takes milliseconds."""


def register(commands: Any) -> None:  # noqa: ANN401  # argparse does not export the type
    """Add the command."""
    parser = commands.add_parser(
        "status",
        help="show whether both halves stand on this node, and what became of each allocation",
        description="Show whether both halves stand on this node, and the allocations that the kubelet keeps, joined with what the NRI halves have"
        " injected. Nothing is changed. Exit status 1 if a container does not have all that it was allocated; 3 if no NRI half is synchronized,"
        " nobody serves a resource that has a socket, or the kubelet's checkpoint cannot be read: what is known is shown all the same.",
        epilog="Example: nri-cdi status -o json",
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")
    add_settings(parser, "nri_socket", "run_dir", "kubelet_dir")
    parser.set_defaults(run=_status)


def _status(options: argparse.Namespace) -> int:
    from nri_cdi.kubelet.joined import State, join  # noqa: PLC0415  # protobuf only where needed
    from nri_cdi.readiness import Slots, accounts  # noqa: PLC0415  # as above

    try:
        settings = settings_of(options)
    except SettingsError as error:
        print(f"nri-cdi: {error}", file=sys.stderr)
        return 2
    with contextlib.suppress(FileNotFoundError):
        os.scandir(settings.run_dir).close()  # raises for one that may not be read, which a search passes over
    answers = accounts(Slots(settings.run_dir, settings.nri_socket))
    heard = [one.account for one in answers if one.account is not None]
    allocations, problem = _allocations(settings)
    rows = join(allocations, heard)
    serving = _serving(settings)
    if options.output == "json":
        print(_json(answers, serving, rows, problem))
    else:
        print(_halves(settings, answers, serving))
        print()
        print(_text(rows))
    if problem:
        print(f"nri-cdi: {problem}", file=sys.stderr)
    if faulty := sum(row.state is State.FAULTY for row in rows):
        print(
            f"nri-cdi: {faulty} without all that was promised: delete these pods, so that they are made anew",
            file=sys.stderr,
        )
        return 1
    stands = any(account.synchronized for account in heard) and not any(serving.values())
    return 0 if stands and not problem else 3


def _allocations(settings: Settings) -> tuple[list[Any] | None, str]:
    """What the kubelet keeps; None, and why, where that cannot be read."""
    from nri_cdi.kubelet.carried import CHECKPOINT, UnreadableCheckpoint, carried  # noqa: PLC0415  # as above

    path = Directories.of(settings.kubelet_dir).device_plugins / CHECKPOINT
    try:
        return carried(path.read_text(encoding="utf-8")), ""
    except FileNotFoundError:
        return None, f"{path}: it is not there; --kubelet-dir names the kubelet's directory"
    except (OSError, UnicodeDecodeError, UnreadableCheckpoint) as error:
        return None, f"{path}: cannot be used: {getattr(error, 'strerror', None) or error}"


def _serving(settings: Settings) -> dict[str, str | None]:
    """The resources that the kubelet half has a socket for, each with why nobody serves it, or None."""
    from nri_cdi.kubelet.sockets import answer_problem, resource_sockets  # noqa: PLC0415  # as above

    found: dict[str, str | None] = {}
    for directory in _served_in(settings):
        for resource, path in resource_sockets(directory).items():
            if (
                resource not in found or found[resource]
            ):  # one that was killed and registered the other way left its socket
                found[resource] = answer_problem(path, _ANSWER)
    return found


def _served_in(settings: Settings) -> tuple[pathlib.Path, pathlib.Path]:
    """Where a kubelet half has its sockets, however it registers."""
    directories = Directories.of(settings.kubelet_dir)
    return directories.device_plugins, directories.plugins_registry


def _json(answers: Sequence[Answered], serving: Mapping[str, str | None], rows: Sequence[Row], problem: str) -> str:
    slots = []
    for one in answers:
        account = one.account
        slots.append(
            {
                "slot": one.slot,
                "answers": account is not None,
                "synchronized": account is not None and account.synchronized,
                "version": account.version if account else None,
                "standing": account.standing if account else one.problem,
            }
        )
    resources = [{"resource": resource, "problem": why} for resource, why in serving.items()]
    whole = {"slots": slots, "resources": resources, "checkpoint": problem or None, "allocations": [*map(asdict, rows)]}
    return json.dumps(whole, indent=2)


def _halves(settings: Settings, answers: Sequence[Answered], serving: Mapping[str, str | None]) -> str:
    rows = []
    for one in answers:
        account = one.account
        well = account is not None and account.synchronized
        what = f"{account.standing} (nri-cdi {account.version})" if account else one.problem
        rows.append(("ok" if well else "BAD", f"NRI half {one.slot}", what))
    if not answers:
        rows.append(("BAD", "NRI half", f"none runs on this node (looked in {settings.run_dir})"))
    for resource, problem in serving.items():
        what = f"serves {resource}" if problem is None else f"does not serve {resource} ({problem.lower()})"
        rows.append(("BAD" if problem else "ok", "kubelet half", what))
    if not serving:
        looked = " and ".join(map(str, _served_in(settings)))
        rows.append(("-", "kubelet half", f"serves no resource (looked in {looked})"))
    return table(rows)


def _text(rows: Sequence[Row]) -> str:
    from nri_cdi.kubelet.joined import State  # noqa: PLC0415  # as above

    words = {
        State.INJECTED: "injected",
        State.FAULTY: "FAULTY: ",
        State.WAITING: "no container has them now",
        State.UNKNOWN: "not known",
    }
    shown = [row for row in rows if row.state in words]
    lines = [
        (
            row.pod or row.pod_uid,
            row.container,
            row.resource or "-",
            ", ".join(row.devices),
            (words[row.state] + row.fault) if row.allocation else "in the format of another release",
        )
        for row in shown
    ]
    if not lines:
        text = "no allocation of nri-cdi is known"
    else:
        counted = Counter(row.state.value for row in shown)
        counts = ", ".join(f"{counted[state.value]} {state.value}" for state in words if counted[state.value])
        head = ("POD", "CONTAINER", "RESOURCE", "DEVICES", "STATE")
        text = f"{table([head, *lines])}\n\n{len(lines)} allocation{'s' if len(lines) > 1 else ''}: {counts}"
    gone = len(rows) - len(shown)
    return text + (f"; {gone} more of containers that the kubelet does not know" if gone else "")

"""`nri-cdi cdi monitor`: what comes, goes and breaks in the spec directories, as it happens."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from nri_cdi import cdi
from nri_cdi.cli.cdi.words import YES, add_directories, add_output, add_verb, say_out

if TYPE_CHECKING:
    import argparse

    from nri_cdi.cli.cdi.words import Verbs


def register(verbs: Verbs) -> None:
    """Add the verb of this file."""
    about = "print the devices there are, and then each change, until interrupted"
    monitor = add_verb(verbs, "monitor", _monitor, about, "monitor --cdi-dir /etc/cdi")
    add_directories(monitor)
    add_output(monitor, "text", "json")


def _monitor(arguments: argparse.Namespace) -> int:
    from nri_cdi.host.specs import Specs  # noqa: PLC0415  # only here

    directories = tuple(arguments.cdi_dir) or cdi.DEFAULT_DIRECTORIES
    last = cdi.EMPTY

    def show(snapshot: cdi.Snapshot) -> None:
        nonlocal last
        for sign, event, what in changes(last, snapshot):
            say_out(json.dumps({"event": event, **what}) if arguments.output == "json" else _line(sign, what))
        sys.stdout.flush()
        last = snapshot

    specs = Specs(directories)
    specs.subscribe(show)
    specs.start()
    specs.run()
    return YES


def changes(before: cdi.Snapshot, after: cdi.Snapshot) -> list[tuple[str, str, dict[str, str]]]:
    """What happened between two snapshots: a sign, the name of the event, and its fields. Pure."""
    old = {name: entry.path for name, entry in before.devices.items()}
    new = {name: entry.path for name, entry in after.devices.items()}
    found = [("-", "removed", {"name": name, "path": path}) for name, path in old.items() if name not in new]
    found += [("+", "added", {"name": name, "path": path}) for name, path in new.items() if name not in old]
    for name in new.keys() & old.keys():
        was, now = before.devices[name], after.devices[name]
        # A file that was not read again is the same value, and so are its devices.
        if was.file is not now.file and (was.path, was.device) != (now.path, now.device):
            found.append(("~", "changed", {"name": name, "path": now.path}))
    faults, known = after.all_errors(), before.all_errors()
    for path in sorted(faults):
        if faults[path] != known.get(path):
            found += [("!", "error", {"path": path, "error": str(fault)}) for fault in faults[path]]
    found += [("=", "error-gone", {"path": path}) for path in known if path not in faults]
    return found


def _line(sign: str, what: dict[str, str]) -> str:
    if "error" in what:
        return f"{sign} {what['error']}"
    return "  ".join([f"{sign} {what.get('name', what['path'])}", *([what["path"]] if "name" in what else [])])

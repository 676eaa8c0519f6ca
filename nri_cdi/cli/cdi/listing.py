"""`nri-cdi cdi devices | specs | vendors | classes | dirs`: what is on this node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nri_cdi.cli.cdi.words import YES, add_directories, add_output, add_verb, print_table, say, show, snapshot

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nri_cdi.cdi import Snapshot
    from nri_cdi.cli.cdi.words import Verbs


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    listings = (
        ("devices", _devices, "list the devices that resolve, and what is wrong with spec files", "devices -o json"),
        ("specs", _specs, "list the valid spec files, and what is wrong with the others", "specs vendor.com"),
        ("vendors", _vendors, "list the vendors, with their files and devices", "vendors"),
        ("classes", _classes, "list the device classes, with their vendors", "classes"),
        ("dirs", _dirs, "list the spec directories, the later wins", "dirs"),
    )
    for name, run, about, example in listings:
        parser = add_verb(verbs, name, run, about, example)
        if name == "specs":
            parser.add_argument("vendors", nargs="*", metavar="VENDOR", help="only files of these vendors")
        add_directories(parser)
        add_output(parser, "text", "json", "yaml")


def _devices(arguments: argparse.Namespace) -> int:
    shot = snapshot(arguments)
    devices = [{"name": name, "path": entry.path, "priority": entry.priority} for name, entry in shot.devices.items()]
    answer = {
        "devices": devices,
        "vendors": list(shot.vendors),
        "classes": list(shot.classes),
        "specs": [file.path for file in shot.specs],
        "dirs": [directory.path for directory in shot.dirs],
        "errors": _errors(shot),
    }
    rows = [(name, entry.path, str(entry.priority)) for name, entry in shot.devices.items()]
    show(arguments, answer, lambda: _table(shot, ("DEVICE", "SPEC", "PRIORITY"), rows))
    return YES


def _specs(arguments: argparse.Namespace) -> int:
    shot = snapshot(arguments)
    files = [file for file in shot.specs if not arguments.vendors or file.spec.vendor in arguments.vendors]
    specs = [
        {
            "path": file.path,
            "priority": file.priority,
            "kind": file.spec.kind,
            "cdiVersion": file.spec.version,
            "devices": [device.name for device in file.spec.devices],
            "warnings": [warning.to_plain() for warning in file.warnings],
        }
        for file in files
    ]
    rows = [
        (file.path, str(file.priority), file.spec.kind, file.spec.version, str(len(file.spec.devices)))
        for file in files
    ]
    head = ("SPEC", "PRIORITY", "KIND", "VERSION", "DEVICES")
    show(arguments, {"specs": specs, "errors": _errors(shot)}, lambda: _table(shot, head, rows))
    return YES


def _vendors(arguments: argparse.Namespace) -> int:
    shot = snapshot(arguments)
    owners = [name.partition("/")[0] for name in shot.devices]
    vendors = [
        {
            "vendor": vendor,
            "specs": [file.path for file in shot.specs if file.spec.vendor == vendor],
            "devices": owners.count(vendor),
        }
        for vendor in shot.vendors
    ]
    rows = [(str(one["vendor"]), str(len(one["specs"])), str(one["devices"])) for one in vendors]  # type: ignore[arg-type]  # a list
    show(arguments, {"vendors": vendors}, lambda: _table(shot, ("VENDOR", "SPECS", "DEVICES"), rows))
    return YES


def _classes(arguments: argparse.Namespace) -> int:
    shot = snapshot(arguments)
    classes = {cls: sorted({file.spec.vendor for file in shot.specs if file.spec.cls == cls}) for cls in shot.classes}
    answer = {"classes": [{"class": cls, "vendors": vendors} for cls, vendors in classes.items()]}
    rows = [(cls, ", ".join(vendors)) for cls, vendors in classes.items()]
    show(arguments, answer, lambda: _table(shot, ("CLASS", "VENDORS"), rows))
    return YES


def _dirs(arguments: argparse.Namespace) -> int:
    shot = snapshot(arguments)
    answer: dict[str, Any] = {
        "dirs": [
            {
                "path": directory.path,
                "priority": directory.priority,
                "state": directory.state.value,
                "error": directory.error and directory.error.to_plain(),
            }
            for directory in shot.dirs
        ]
    }
    rows = [(directory.path, str(directory.priority), directory.state.value) for directory in shot.dirs]
    show(arguments, answer, lambda: print_table([("DIRECTORY", "PRIORITY", "STATE"), *rows]))
    return YES


def _errors(shot: Snapshot) -> dict[str, list[dict[str, Any]]]:
    return {path: [fault.to_plain() for fault in faults] for path, faults in shot.all_errors().items()}


def _table(shot: Snapshot, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The rows under their heads, or that there are none; then what is wrong, as words."""
    if rows:
        print_table([head, *rows])
    else:
        what = "devices" if head[0] == "DEVICE" else "valid spec files"
        say(f"no {what} in {', '.join(directory.path for directory in shot.dirs)}")
    for faults in shot.all_errors().values():
        for fault in faults:
            say(str(fault))

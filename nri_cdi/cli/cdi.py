"""`nri-cdi cdi ...`: the CDI library on the command line: validate, devices, inject, parse.

Data goes to standard output, words to standard error. Exit status: 0 yes, 1 no (invalid, unresolved), 2 wrong use, 3 the environment.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, Final

from nri_cdi import cdi
from nri_cdi.cdi import annotations as container_annotations
from nri_cdi.cdi import document
from nri_cdi.cdi.load import Examined, examine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

YES: Final = 0
NO: Final = 1
ENVIRONMENT: Final = 3

_STDIN: Final = "-"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cdi` and its verbs; each sets `run`, which takes the parsed arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "cdi", help="look at CDI specs: validate, devices, inject, parse", description="Look at CDI specs."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    validate = verbs.add_parser(
        "validate", help="say whether spec files are valid, why not, and which cdiVersion they need"
    )
    validate.add_argument("files", nargs="+", metavar="FILE", help="a spec file, or - for standard input")
    _add_output(validate, "text", "json")
    validate.set_defaults(run=_validate)

    devices = verbs.add_parser("devices", help="list the devices that resolve, and what is wrong with spec files")
    _add_directories(devices)
    _add_output(devices, "text", "json", "yaml")
    devices.set_defaults(run=_devices)

    inject = verbs.add_parser("inject", help="read an OCI spec, write it with the devices injected")
    _add_directories(inject)
    inject.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="a qualified name, vendor/class=device (repeatable)",
    )
    inject.add_argument(
        "--annotation",
        action="append",
        default=[],
        type=_annotation,
        metavar="KEY=VALUE",
        help=f"a container annotation; those whose key begins with {container_annotations.PREFIX} name devices (repeatable)",
    )
    inject.add_argument(
        "oci", nargs="?", default=_STDIN, metavar="OCI.json", help="the OCI spec, or - for standard input (the default)"
    )
    _add_output(inject, "json")
    inject.set_defaults(run=_inject)

    parse = verbs.add_parser("parse", help="take a qualified device name apart, or say why it is none")
    parse.add_argument("name", metavar="NAME")
    _add_output(parse, "text", "json")
    parse.set_defaults(run=_parse)


def _add_directories(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cdi-dir",
        action="append",
        default=[],
        metavar="DIR",
        help=f"a directory of spec files; the later wins (repeatable, default {' and '.join(cdi.DEFAULT_DIRECTORIES)})",
    )


def _add_output(parser: argparse.ArgumentParser, *formats: str) -> None:
    parser.add_argument(
        "-o", "--output", choices=formats, default=formats[0], help=f"the form of the output (default {formats[0]})"
    )


def _annotation(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f'"{text}" is not KEY=VALUE')
    return key, value


def _validate(arguments: argparse.Namespace) -> int:
    status = YES
    reports: list[dict[str, Any]] = []
    for path in arguments.files:
        try:
            examined = examine(_read(path), path)
        except OSError as error:
            _say(f"{path}: {error.strerror or error}")
            status = ENVIRONMENT
            continue
        if examined.errors:
            status = max(status, NO)
        reports.append(_report(path, examined))
        if arguments.output == "text":
            _print_verdict(path, examined)
    if arguments.output == "json":
        _print_json({"valid": status == YES, "files": reports})
    return status


def _report(path: str, examined: Examined) -> dict[str, Any]:
    return {
        "path": path,
        "valid": not examined.errors,
        "kind": examined.spec.kind,
        "cdiVersion": examined.spec.version,
        "minimumVersion": examined.least_version or None,
        "devices": [device.name for device in examined.spec.devices],
        "errors": [error.to_plain() for error in examined.errors],
        "warnings": [warning.to_plain() for warning in examined.warnings],
    }


def _print_verdict(path: str, examined: Examined) -> None:
    spec = examined.spec
    least = f"needs cdiVersion {examined.least_version}" if examined.least_version else ""
    if examined.errors:
        _print(f"{path}: invalid" + (f", {least}" if least else ""))
        for error in examined.errors:
            _print(f"  {error}")
        return
    count = len(spec.devices)
    _print(f"{path}: valid, {spec.kind}, {count} device{'' if count == 1 else 's'}, cdiVersion {spec.version}, {least}")
    for warning in examined.warnings:
        _say(f"warning: {warning}")


def _devices(arguments: argparse.Namespace) -> int:
    snapshot = cdi.Snapshot.build(cdi.scan_directories(arguments.cdi_dir))
    errors = snapshot.all_errors()
    if arguments.output != "text":
        listing = _listing(snapshot, errors)
        if arguments.output == "json":
            _print_json(listing)
        else:
            _print(document.write(listing).rstrip("\n"))
        return YES
    rows = [(name, entry.path, str(entry.priority)) for name, entry in snapshot.devices.items()]
    if rows:
        _print_table([("DEVICE", "SPEC", "PRIORITY"), *rows])
    else:
        _say(f"no devices in {', '.join(directory.path for directory in snapshot.dirs)}")
    for faults in errors.values():
        for fault in faults:
            _say(str(fault))
    return YES


def _listing(snapshot: cdi.Snapshot, errors: Mapping[str, Sequence[cdi.SpecError]]) -> dict[str, Any]:
    return {
        "devices": [
            {"name": name, "path": entry.path, "priority": entry.priority} for name, entry in snapshot.devices.items()
        ],
        "vendors": list(snapshot.vendors),
        "classes": list(snapshot.classes),
        "specs": [file.path for file in snapshot.specs],
        "dirs": [directory.path for directory in snapshot.dirs],
        "errors": {path: [fault.to_plain() for fault in faults] for path, faults in errors.items()},
    }


def _inject(arguments: argparse.Namespace) -> int:
    try:
        data = _read(arguments.oci)
    except OSError as error:
        _say(f"{arguments.oci}: {error.strerror or error}")
        return ENVIRONMENT
    try:
        oci = json.loads(data)
    except (ValueError, RecursionError) as error:
        _say(f"{arguments.oci}: not JSON: {error}")
        return NO
    if not isinstance(oci, dict):
        _say(f"{arguments.oci}: not an OCI spec: the top level must be an object")
        return NO
    try:
        names = (*arguments.device, *container_annotations.parse(dict(arguments.annotation)))
        if names:
            snapshot = cdi.Snapshot.build(cdi.scan_directories(arguments.cdi_dir))
            oci = cdi.inject(oci, snapshot.resolve(names), cdi.LocalHost())
    except cdi.CDIError as error:
        _say(str(error))
        return NO
    _print_json(oci)
    return YES


def _parse(arguments: argparse.Namespace) -> int:
    try:
        name = cdi.parse_qualified_name(arguments.name)
    except cdi.InvalidName as error:
        if arguments.output == "json":
            _print_json({"name": error.text, "qualified": False, "part": error.part, "error": error.reason})
        else:
            _say(str(error))
        return NO
    if arguments.output == "json":
        _print_json(
            {"name": arguments.name, "qualified": True, "vendor": name.vendor, "class": name.cls, "device": name.name}
        )
    else:
        _print_table([("vendor", name.vendor), ("class", name.cls), ("device", name.name)])
    return YES


def _read(path: str) -> bytes:
    """A file of any kind, or standard input; one byte more than a spec file may have at most."""
    if path == _STDIN:
        return sys.stdin.buffer.read(document.SIZE_MAX + 1)
    with open(path, "rb") as file:  # noqa: PTH123 - a Path would clean the name that error texts repeat
        return file.read(document.SIZE_MAX + 1)


def _print_table(rows: Iterable[Sequence[str]]) -> None:
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        _print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_json(value: object) -> None:
    _print(json.dumps(value, indent=2))


def _print(text: str) -> None:
    # File names need not be UTF-8.
    print(text.encode("utf-8", "backslashreplace").decode())


def _say(text: str) -> None:
    print(text.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)

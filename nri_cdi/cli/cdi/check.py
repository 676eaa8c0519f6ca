"""`nri-cdi cdi validate | parse | schema`: is this right, and what would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nri_cdi import cdi
from nri_cdi.cli.cdi.words import (
    ENVIRONMENT,
    NO,
    YES,
    add_output,
    add_verb,
    print_json,
    print_table,
    read,
    say,
    say_out,
    show,
)

if TYPE_CHECKING:
    import argparse

    from nri_cdi.cdi.load import Examined
    from nri_cdi.cli.cdi.words import Verbs


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    about = "say whether spec files are valid, why not, and which cdiVersion they need"
    validate = add_verb(verbs, "validate", _validate, about, "validate /etc/cdi/*.yaml")
    validate.add_argument("files", nargs="+", metavar="FILE", help="a spec file, or - for standard input")
    add_output(validate, "text", "json", "yaml")

    about = "take a qualified device name apart, or say why it is none"
    parse = add_verb(verbs, "parse", _parse, about, "parse vendor.com/gpu=0")
    parse.any_word = True
    parse.add_argument("name", metavar="NAME", help="vendor/class=device")
    add_output(parse, "text", "json", "yaml")

    about = "print a JSON schema of spec files, for editors and checks"
    add_verb(verbs, "schema", _schema, about, "schema > cdi.schema.json")


def _validate(arguments: argparse.Namespace) -> int:
    from nri_cdi.cdi.load import examine  # noqa: PLC0415  # it loads PyYAML

    status = YES
    examined: list[tuple[str, Examined]] = []
    for path in arguments.files:
        try:
            examined.append((path, examine(read(path), path)))
        except OSError as error:
            say(f"{path}: {error.strerror or error}")
            status = ENVIRONMENT
    if any(found.errors for _, found in examined):
        status = max(status, NO)
    answer = {"valid": status == YES, "files": [_report(path, found) for path, found in examined]}
    show(arguments, answer, lambda: _print_verdicts(examined))
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


def _print_verdicts(files: list[tuple[str, Examined]]) -> None:
    for path, examined in files:
        spec = examined.spec
        least = f", needs cdiVersion {examined.least_version}" if examined.least_version else ""
        if examined.errors:
            say_out(f"{path}: invalid{least}")
        else:
            count = f"{len(spec.devices)} device{'' if len(spec.devices) == 1 else 's'}"
            say_out(f"{path}: valid, {spec.kind}, {count}, cdiVersion {spec.version}{least}")
        for error in examined.errors:
            say_out(f"  {error}")
        for warning in examined.warnings:
            say(f"warning: {warning}")


def _parse(arguments: argparse.Namespace) -> int:
    try:
        name = cdi.parse_qualified_name(arguments.name)
    except cdi.InvalidName as error:
        answer = {"name": error.text, "qualified": False, "part": error.part, "error": error.reason}
        why = str(error)
        show(arguments, answer, lambda: say(why))
        return NO
    answer = {"name": arguments.name, "qualified": True, "vendor": name.vendor, "class": name.cls, "device": name.name}
    rows = [("vendor", name.vendor), ("class", name.cls), ("device", name.name)]
    show(arguments, answer, lambda: print_table(rows))
    return YES


def _schema(_arguments: argparse.Namespace) -> int:
    from nri_cdi.cdi.schema import SCHEMA  # noqa: PLC0415  # only here

    print_json(SCHEMA)
    return YES

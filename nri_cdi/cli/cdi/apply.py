"""`nri-cdi cdi inject | resolve | annotate`: devices for a container, as an OCI spec or as annotations."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from nri_cdi import cdi
from nri_cdi.cdi import annotations as container_annotations
from nri_cdi.cli.cdi.words import (
    ENVIRONMENT,
    NO,
    STDIN,
    YES,
    add_directories,
    add_output,
    add_verb,
    print_json,
    read,
    say,
    say_out,
    show,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nri_cdi.cli.cdi.words import Verbs


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    about = "read an OCI spec, write it with the devices injected"
    inject = add_verb(verbs, "inject", _inject, about, "inject --device vendor.com/gpu=0 config.json > new.json")
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

    about = "read an OCI spec whose linux.devices has qualified names for paths, write it with these devices injected instead"
    resolve = add_verb(verbs, "resolve", _resolve, about, "resolve config.json > new.json")
    for parser in (inject, resolve):
        add_directories(parser)
        parser.add_argument(
            "oci",
            nargs="?",
            default=STDIN,
            metavar="OCI.json",
            help="the OCI spec, or - for standard input (the default)",
        )
        add_output(parser, "json")

    about = "make the annotation that asks for devices, as a device plugin would"
    example = "annotate --plugin vendor.gpu --id pod-1 vendor.com/gpu=0"
    annotate = add_verb(verbs, "annotate", _annotate, about, example)
    annotate.add_argument("--plugin", required=True, metavar="NAME", help="the plugin, the first part of the key")
    annotate.add_argument("--id", required=True, metavar="ID", help="what tells this allocation from others")
    annotate.add_argument("names", nargs="+", metavar="NAME", help="a qualified name, vendor/class=device")
    add_output(annotate, "text", "json", "yaml")


def _annotation(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f'"{text}" is not KEY=VALUE')
    return key, value


def _inject(arguments: argparse.Namespace) -> int:
    oci = _oci_spec(arguments.oci)
    if isinstance(oci, int):
        return oci
    try:
        names = (*arguments.device, *container_annotations.parse(dict(arguments.annotation)))
    except cdi.CDIError as error:
        say(str(error))
        return NO
    return _print_injected(arguments, oci, names)


def _resolve(arguments: argparse.Namespace) -> int:
    oci = _oci_spec(arguments.oci)
    if isinstance(oci, int):
        return oci
    linux = oci.get("linux")
    devices = linux.get("devices") if isinstance(linux, dict) else None
    if not isinstance(linux, dict) or not isinstance(devices, list):
        return _print_injected(arguments, oci, ())
    paths = [str(entry.get("path", "")) if isinstance(entry, dict) else "" for entry in devices]
    names = [path for path in paths if cdi.is_qualified(path)]
    left = [entry for entry, path in zip(devices, paths, strict=True) if not cdi.is_qualified(path)]
    return _print_injected(arguments, {**oci, "linux": {**linux, "devices": left}}, names)


def _annotate(arguments: argparse.Namespace) -> int:
    try:
        made = container_annotations.update({}, arguments.plugin, arguments.id, arguments.names)
    except cdi.CDIError as error:
        say(str(error))
        return NO
    show(arguments, {"annotations": made}, lambda: say_out("\n".join(f"{key}={value}" for key, value in made.items())))
    return YES


def _oci_spec(path: str) -> dict[str, Any] | int:
    """The OCI spec in a file, or the exit status after words on why there is none."""
    try:
        data = read(path)
    except OSError as error:
        say(f"{path}: {error.strerror or error}")
        return ENVIRONMENT
    try:
        oci = json.loads(data)
    except (ValueError, RecursionError) as error:
        say(f"{path}: not JSON: {error}")
        return NO
    if not isinstance(oci, dict):
        say(f"{path}: not an OCI spec: the top level must be an object")
        return NO
    return oci


def _print_injected(arguments: argparse.Namespace, oci: dict[str, Any], names: Sequence[str]) -> int:
    try:
        if names:
            oci = cdi.inject(oci, snapshot(arguments).resolve(names), cdi.LocalHost())
    except cdi.CDIError as error:
        say(str(error))
        return NO
    print_json(oci)
    return YES

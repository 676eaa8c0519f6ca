"""`nri-cdi allocate NAME...`: the answer that Allocate would give, for whoever wants to try a container without a kubelet."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from nri_cdi.cdi import InvalidName
from nri_cdi.cli.serve import add_settings, settings_of
from nri_cdi.settings import SettingsError

if TYPE_CHECKING:
    import argparse


def register(commands: Any) -> None:  # noqa: ANN401  # argparse does not export the type
    """Add the command."""
    parser = commands.add_parser(
        "allocate",
        help="print the answer that Allocate gives for these devices: annotations and guard mounts",
        description="Print the answer that Allocate gives for these devices: one annotation key for each resource, and the guard mounts.",
        epilog="Example: nri-cdi allocate device.example.com/gpu=device_0 device.example.com/gpu=device_1 -o json",
    )
    parser.add_argument("names", metavar="NAME", nargs="+", help="a qualified device name: vendor/class=device")
    parser.add_argument("-o", "--output", choices=("json", "text"), default="text", help="default: text")
    add_settings(parser, "annotation_prefix", "guard")
    parser.set_defaults(run=_allocate)


def _allocate(options: argparse.Namespace) -> int:
    from nri_cdi.kubelet.allocate import allocate_names, to_plain  # noqa: PLC0415  # protobuf only where needed

    try:
        settings = settings_of(options)
        allocations = allocate_names(
            options.names, prefix=settings.annotation_prefix, random_id=lambda: os.urandom(16), guard=settings.guard
        )
    except (SettingsError, InvalidName) as error:
        print(f"nri-cdi: {error}", file=sys.stderr)
        return 2
    whole: dict[str, Any] = {"annotations": {}, "mounts": [], "envs": {}, "devices": []}
    mounts: dict[
        str, Any
    ] = {}  # by place: of two mounts at one place the kubelet keeps the first, and all guards have one parent
    for allocation in allocations.values():
        plain: dict[str, Any] = to_plain(allocation)
        whole["annotations"] |= plain["annotations"]
        for mount in plain["mounts"]:
            mounts.setdefault(mount["container_path"], mount)
    whole["mounts"] = list(mounts.values())
    if options.output == "json":
        print(json.dumps(whole, indent=2))
        return 0
    for key, value in whole["annotations"].items():
        print(f"annotation  {key}: {value}")
    for mount in whole["mounts"]:
        print(
            f"mount       {mount['host_path']} -> {mount['container_path']}{' (read-only)' if mount['read_only'] else ''}"
        )
    return 0

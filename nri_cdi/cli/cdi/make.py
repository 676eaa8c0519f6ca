"""`nri-cdi cdi generate | transform`: spec files made from what is on this node, and made over."""

from __future__ import annotations

import argparse
import glob
import os
import re
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from nri_cdi import cdi
from nri_cdi.cdi.validate import HOOK_NAMES
from nri_cdi.cdi.versions import index, parse_version
from nri_cdi.cli.cdi.words import ENVIRONMENT, NO, STDIN, YES, add_output, add_verb, read, say, say_out

if TYPE_CHECKING:
    from nri_cdi.cli.cdi.words import Verbs


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    about = "make a spec of device nodes, mounts, variables and hooks"
    example = "generate --kind example.com/serial --device '/dev/ttyUSB*' --all > /etc/cdi/serial.yaml"
    generate = add_verb(verbs, "generate", _generate, about, example)
    generate.add_argument("--kind", required=True, metavar="VENDOR/CLASS", help="the kind of the devices")
    generate.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="[NAME=]GLOB",
        help="device nodes: each is a device named like its file; with NAME= all of them are one device (repeatable)",
    )
    generate.add_argument("--all", action="store_true", help="a device `all` with the nodes of all the others, too")
    generate.add_argument("--permissions", default="", help="of the device nodes: letters of rwm (default rwm)")
    generate.add_argument(
        "--mount",
        action="append",
        default=[],
        type=_mount,
        metavar="HOST[:CONTAINER[:OPTIONS]]",
        help="a mount for every device; options joined by commas (default ro,nosuid,nodev,bind) (repeatable)",
    )
    generate.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable for every device (repeatable)"
    )
    generate.add_argument(
        "--hook",
        action="append",
        default=[],
        type=_hook,
        metavar="HOOK:PATH[ ARGUMENT]...",
        help=f"a hook for every device; HOOK is one of {', '.join(HOOK_NAMES)} (repeatable)",
    )
    add_output(generate, "yaml", "json")

    about = "read a spec, write it in the other form, or for another root directory"
    example = "transform -o json /etc/cdi/gpu.yaml"
    transform = add_verb(verbs, "transform", _transform, about, example)
    transform.add_argument("file", nargs="?", default=STDIN, metavar="FILE", help="the spec, or - for standard input")
    transform.add_argument("--from", dest="old", default="", metavar="DIR", help="paths that lie in this directory...")
    transform.add_argument("--to", dest="new", default="", metavar="DIR", help="...lie in this one in the new spec")
    transform.add_argument(
        "--relative-to",
        choices=("host", "container"),
        default="host",
        help="which paths: those of the host (default), or those in the container",
    )
    add_output(transform, "yaml", "json")


def _mount(text: str) -> cdi.Mount:
    host, _, rest = text.partition(":")
    container, _, options = rest.partition(":")
    if not host:
        raise argparse.ArgumentTypeError(f'"{text}" is not HOST[:CONTAINER[:OPTIONS]]')
    return cdi.Mount(host, container or host, tuple((options or "ro,nosuid,nodev,bind").split(",")))


def _hook(text: str) -> cdi.Hook:
    name, colon, command = text.partition(":")
    path, *arguments = command.split() or [""]
    if not colon or not path:
        raise argparse.ArgumentTypeError(f'"{text}" is not HOOK:PATH[ ARGUMENT]...')
    return cdi.Hook(name, path, (path, *arguments) if arguments else ())


def _generate(arguments: argparse.Namespace) -> int:
    nodes: dict[str, list[cdi.DeviceNode]] = {}
    for text in arguments.device:
        name, equals, pattern = text.partition("=")
        if not equals:
            name, pattern = "", text
        paths = [path for path in sorted(glob.glob(pattern), key=_natural) if _is_device(path)]  # noqa: PTH207  # host paths as text
        if not paths:
            say(f"{pattern}: no device node on this machine")
            return ENVIRONMENT
        for path in paths:
            own = name or re.sub(r"[^A-Za-z0-9_.:-]", "_", os.path.basename(path))  # noqa: PTH119  # as above
            nodes.setdefault(own, []).append(cdi.DeviceNode(path, permissions=arguments.permissions))
    if arguments.all:
        every = {node.path: node for group in nodes.values() for node in group}
        nodes["all"] = list(every.values())
    devices = [cdi.Device(name, cdi.ContainerEdits(device_nodes=tuple(group))) for name, group in nodes.items()]
    edits = cdi.ContainerEdits(env=tuple(arguments.env), mounts=tuple(arguments.mount), hooks=tuple(arguments.hook))
    spec = cdi.Spec("", arguments.kind, tuple(devices), edits)
    return _print_spec(replace(spec, version=cdi.minimum_version(spec)), arguments.output)


def _is_device(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  # as above
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISFIFO(mode)


def _natural(path: str) -> list[tuple[int, str]]:
    """The order that people expect: ttyUSB2 before ttyUSB10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path)]


def _transform(arguments: argparse.Namespace) -> int:
    try:
        spec = cdi.load_spec(read(arguments.file), arguments.file)
    except OSError as error:
        say(f"{arguments.file}: {error.strerror or error}")
        return ENVIRONMENT
    except cdi.InvalidSpec as error:
        say(str(error))
        return NO
    if arguments.old or arguments.new:
        move = _on_host if arguments.relative_to == "host" else _in_container
        old, new = arguments.old.rstrip("/"), arguments.new.rstrip("/")
        spec = replace(
            spec,
            edits=move(spec.edits, old, new),
            devices=tuple(replace(device, edits=move(device.edits, old, new)) for device in spec.devices),
        )
        least, declared = cdi.minimum_version(spec), parse_version(spec.version)
        if declared is None or index(least) > index(declared):
            spec = replace(spec, version=least)
    return _print_spec(spec, arguments.output)


def _on_host(edits: cdi.ContainerEdits, old: str, new: str) -> cdi.ContainerEdits:
    return replace(
        edits,
        device_nodes=tuple(_node_on_host(node, old, new) for node in edits.device_nodes),
        mounts=tuple(replace(mount, host_path=_moved(mount.host_path, old, new)) for mount in edits.mounts),
        hooks=tuple(
            replace(hook, path=_moved(hook.path, old, new), args=tuple(_moved(word, old, new) for word in hook.args))
            for hook in edits.hooks
        ),
    )


def _node_on_host(node: cdi.DeviceNode, old: str, new: str) -> cdi.DeviceNode:
    path = _moved(node.host_path or node.path, old, new)
    return node if path == (node.host_path or node.path) else replace(node, host_path="" if path == node.path else path)


def _in_container(edits: cdi.ContainerEdits, old: str, new: str) -> cdi.ContainerEdits:
    return replace(
        edits,
        # What was found under the path on the host is still there.
        device_nodes=tuple(
            replace(node, path=_moved(node.path, old, new), host_path=node.host_path or node.path)
            if _moved(node.path, old, new) != node.path
            else node
            for node in edits.device_nodes
        ),
        mounts=tuple(replace(mount, container_path=_moved(mount.container_path, old, new)) for mount in edits.mounts),
    )


def _moved(path: str, old: str, new: str) -> str:
    """The path under the new directory, if it lies in the old one; "" stands for /."""
    return (new + path[len(old) :] or "/") if path == old or path.startswith(f"{old}/") else path


def _print_spec(spec: cdi.Spec, form: str) -> int:
    faults = cdi.validate(spec)
    for fault in faults:
        say(f"{fault.message}; {fault.hint}")
    if faults:
        return NO
    say_out(cdi.spec_text(spec, f".{form}").removesuffix("\n"))
    return YES

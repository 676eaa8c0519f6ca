"""`nri-cdi uninstall-check`: the containers of this node that cannot restart as they are once nri-cdi is gone."""

from __future__ import annotations

import json
import pathlib
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.cli.serve import add_settings, settings_of
from nri_cdi.cli.table import table
from nri_cdi.kubelet.directories import Directories
from nri_cdi.settings import SettingsError

if TYPE_CHECKING:
    import argparse

    from nri_cdi.kubelet.carried import Carried


_MIRROR: Final = "kubernetes.io/config.mirror"
"""The annotation that the kubelet gives to the API's picture of a static pod: the UID of that pod (Kubernetes, ConfigMirrorAnnotationKey)."""


def register(commands: Any) -> None:  # noqa: ANN401  # argparse does not export the type
    """Add the command."""
    parser = commands.add_parser(
        "uninstall-check",
        help="list the containers of this node that cannot restart once nri-cdi is gone",
        description="List the containers of this node that carry an answer of nri-cdi: the kubelet replays it at every start for the life of the"
        " pod, so once nri-cdi is gone they cannot restart as they are. Running ones are not touched. Exit status 1 if there are any.",
        epilog="Example: kubectl get pods -A -o json | nri-cdi uninstall-check --pods -",
    )
    parser.add_argument(
        "--pods",
        metavar="FILE",
        help="what `kubectl get pods -A -o json` prints, or - for standard input: pods are then shown by name, and those that have ended are left out",
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")
    add_settings(parser, "annotation_prefix", "kubelet_dir")
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from nri_cdi.kubelet.carried import CHECKPOINT, UnreadableCheckpoint, carried  # noqa: PLC0415  # protobuf only where needed

    try:
        settings = settings_of(options)
    except SettingsError as error:
        print(f"nri-cdi: {error}", file=sys.stderr)
        return 2
    path = Directories.of(settings.kubelet_dir).device_plugins / CHECKPOINT
    try:
        found = carried(path.read_text(encoding="utf-8"), settings.annotation_prefix)
    except FileNotFoundError:
        print(f"nri-cdi: {path}: it is not there; --kubelet-dir names the kubelet's directory", file=sys.stderr)
        return 3
    except (OSError, UnreadableCheckpoint, ValueError) as error:
        print(f"nri-cdi: {path}: cannot be used: {error}", file=sys.stderr)
        return 3
    try:
        names = _names(options.pods) if options.pods else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"nri-cdi: --pods {options.pods}: cannot be used: {error}", file=sys.stderr)
        return 3
    if names is not None:
        found = [one for one in found if one.pod_uid in names]
    _print(found, names or {}, options.output)
    return 1 if found else 0


def _names(file: str) -> dict[str, str]:
    """`namespace/name` by UID of the pods that have not ended; by that which the kubelet has, for a static pod's mirror."""
    text = sys.stdin.read() if file == "-" else pathlib.Path(file).read_text(encoding="utf-8")
    names = {}
    for pod in json.loads(text)["items"]:
        about = pod["metadata"]
        if pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}:
            uid = (about.get("annotations") or {}).get(_MIRROR, about["uid"])
            names[uid] = f"{about['namespace']}/{about['name']}"
    return names


def _print(found: list[Carried], names: dict[str, str], output: str) -> None:
    if output == "json":
        print(json.dumps({"containers": [{**asdict(one), "pod": names.get(one.pod_uid)} for one in found]}, indent=2))
        return
    if not found:
        print("no container on this node depends on nri-cdi")
        return
    rows = [
        (
            names.get(one.pod_uid, one.pod_uid),
            one.container,
            f"{one.resource}: {', '.join(one.devices)}",
            "will not start again" if one.guarded else "will start WITHOUT its devices",
        )
        for one in found
    ]
    rows.insert(0, ("POD", "CONTAINER", "DEVICES", "ONCE NRI-CDI IS GONE"))
    print(table(rows))
    print(f"{len(found)} to move first: drain this node, or delete these pods, then uninstall", file=sys.stderr)

"""`nri-cdi uninstall-check`: the containers of this node that cannot restart as they are once nri-cdi is gone."""

from __future__ import annotations

import json
import pathlib
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.cli.serve import add_settings, settings_of
from nri_cdi.cli.table import table
from nri_cdi.kubelet.directories import Directories
from nri_cdi.settings import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

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
        help="what `kubectl get pods -A -o json` prints, or - for standard input: pods are then shown by name, and those that have ended or were deleted are left out",
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")
    add_settings(parser, "kubelet_dir")
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
        found = carried(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        print(f"nri-cdi: {path}: it is not there; --kubelet-dir names the kubelet's directory", file=sys.stderr)
        return 3
    except (OSError, UnreadableCheckpoint, ValueError) as error:
        print(f"nri-cdi: {path}: cannot be used: {error}", file=sys.stderr)
        return 3
    try:
        names = _listed(options.pods) if options.pods else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"nri-cdi: --pods {options.pods}: cannot be used: {error}", file=sys.stderr)
        return 3
    if names is not None:
        found = [one for one in found if names.depends(one.pod_uid)]
    _print(found, names, options.output)
    return 1 if found else 0


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a list of pods says: `namespace/name` of each by UID, the UIDs of those that have ended, and whether it is of all namespaces."""

    names: Mapping[str, str]
    ended: frozenset[str]
    whole: bool

    def depends(self, uid: str) -> bool:
        """Whether a pod that the kubelet's checkpoint has may still start a container. The checkpoint keeps deleted pods until the kubelet's next allocation."""
        return uid not in self.ended if uid in self.names else not self.whole


def _listed(file: str) -> _Listed:
    """What the list of pods says; a static pod's UID is that which the kubelet has, not its mirror's."""
    text = sys.stdin.read() if file == "-" else pathlib.Path(file).read_text(encoding="utf-8")
    names, ended, namespaces = {}, set(), set()
    for pod in json.loads(text)["items"]:
        about = pod["metadata"]
        uid = (about.get("annotations") or {}).get(_MIRROR, about["uid"])
        names[uid] = f"{about['namespace']}/{about['name']}"
        namespaces.add(about["namespace"])
        if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
            ended.add(uid)
    return _Listed(names, frozenset(ended), len(namespaces) > 1)


def _print(found: list[Carried], listed: _Listed | None, output: str) -> None:
    names = listed.names if listed is not None else {}
    if output == "json":
        print(json.dumps({"containers": [{**asdict(one), "pod": names.get(one.pod_uid)} for one in found]}, indent=2))
        return
    if not found:
        print("no container on this node depends on nri-cdi")
        return
    rows = [
        (
            names.get(one.pod_uid) or (one.pod_uid if listed is None else f"{one.pod_uid} (not in the list)"),
            one.container,
            f"{one.resource}: {', '.join(one.devices)}",
            "will not start again" if one.guarded else "will start WITHOUT its devices",
        )
        for one in found
    ]
    rows.insert(0, ("POD", "CONTAINER", "DEVICES", "ONCE NRI-CDI IS GONE"))
    print(table(rows))
    print(f"{len(found)} to move first: drain this node, or delete these pods, then uninstall", file=sys.stderr)
    if listed is not None and (unknown := sum(one.pod_uid not in names for one in found)):
        print(
            f"{unknown} of pods that --pods does not list, which has pods of one namespace at most: take all (kubectl get pods -A)",
            file=sys.stderr,
        )

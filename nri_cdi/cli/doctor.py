"""`nri-cdi doctor`: whether this node has what nri-cdi needs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nri_cdi.cli.serve import add_settings, settings_of
from nri_cdi.settings import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nri_cdi.doctor import Finding


def register(commands: Any) -> None:  # noqa: ANN401  # argparse does not export the type
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        help="look whether this node has what nri-cdi needs; nothing is changed",
        description="Look whether this node has what nri-cdi needs: spec files, devices, the runtime's and the kubelet's sockets, an NRI half"
        " that answers. Nothing is changed. Exit status 1 if something is not well.",
        epilog="Example: nri-cdi doctor --resource device.example.com/gpu",
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")
    add_settings(
        parser, "resource", "cdi_dir", "nri_socket", "kubelet_dir", "host_root", "run_dir", "annotation_prefix"
    )
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from nri_cdi.doctor import examine  # noqa: PLC0415  # YAML and protobuf only where needed

    try:
        findings = list(examine(settings_of(options)))
    except (SettingsError, ValueError) as error:
        print(f"nri-cdi: {error}", file=sys.stderr)
        return 2
    print(
        json.dumps({"findings": [asdict(one) for one in findings]}, indent=2)
        if options.output == "json"
        else text(findings)
    )
    return 0 if all(finding.well for finding in findings) else 1


def text(findings: Sequence[Finding]) -> str:
    """The findings for people: one in a line, what to do below it."""
    width = max(len(finding.about) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{'ok  ' if finding.well else 'BAD '}  {finding.about:<{width}}  {finding.what}")
        if finding.todo:
            lines.append(f"{'':<{width + 8}}{finding.todo}")
    return "\n".join(lines)

"""`nri-cdi run | nri | device-plugin`: the agent, with both halves or one of them."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from dataclasses import fields, replace
from typing import Any, Final

from nri_cdi.settings import Settings, SettingsError, load

COMMANDS: Final = {
    "run": "both halves in one process: for a laptop, a demo, a test",
    "nri": "the NRI half: injects CDI devices into containers as containerd creates them",
    "device-plugin": "the kubelet half: advertises CDI devices to the kubelet",
}
_EXAMPLES: Final = {
    "run": "nri-cdi run --resource device.example.com/gpu",
    "nri": "nri-cdi nri --cdi-dir /etc/cdi --nri-socket /var/run/nri/nri.sock",
    "device-plugin": "nri-cdi device-plugin --resource device.example.com/gpu",
}


def register(commands: Any) -> None:  # noqa: ANN401  # argparse does not export the type
    """Add the three commands; they share all flags."""
    for name, help_ in COMMANDS.items():
        parser = commands.add_parser(
            name,
            help=help_,
            description=f"{help_[0].upper()}{help_[1:]}.",
            epilog=f"Example: {_EXAMPLES[name]}\n\nEach flag is also a variable (--cdi-dir: NRI_CDI_CDI_DIR, parts divided by commas)"
            " and a key of the file that --config names (cdi-dir: [..]); a flag goes before a variable, a variable before the file.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_settings(parser)
        parser.set_defaults(run=_serve, command=name)


def add_settings(parser: argparse.ArgumentParser, *only: str) -> None:
    """Add a flag for each setting (or only these), and --config."""
    parser.add_argument("--config", metavar="FILE", help="a YAML file of settings")
    for setting in fields(Settings):
        if only and setting.name not in only:
            continue
        default, shown = setting.default, _shown(setting.default)
        parser.add_argument(
            f"--{setting.name.replace('_', '-')}",
            dest=setting.name,
            action="append" if isinstance(default, tuple) else "store",
            metavar=setting.metadata["metavar"],
            help=f"{setting.metadata['help']}{f' (default: {shown})' if shown else ''}",
        )


def _shown(default: object) -> str:
    """A default as it would be written; empty for none."""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return " ".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings of parsed options, the environment and the file. Raises SettingsError."""
    flags = {setting.name.replace("_", "-"): getattr(options, setting.name, None) for setting in fields(Settings)}
    config = options.config or os.environ.get("NRI_CDI_CONFIG")
    return load(flags, os.environ, config)


def _inherited(settings: Settings) -> tuple[Settings, socket.socket | None]:
    """Where the runtime started us itself (NRI's pre-installed plugins): the connection it gave, and the settings with the name and index it gave."""
    given = os.environ.get("NRI_PLUGIN_SOCKET", "")
    if not given:
        return settings, None
    try:
        sock = socket.socket(fileno=int(given))
    except (ValueError, OSError) as error:
        raise SettingsError(
            f"the environment: NRI_PLUGIN_SOCKET is {given}, which is no open socket: {error}"
        ) from error
    name = os.environ.get("NRI_PLUGIN_NAME", settings.plugin_name)
    index = os.environ.get("NRI_PLUGIN_IDX", settings.plugin_index)
    return replace(settings, plugin_name=name, plugin_index=index), sock


def _serve(options: argparse.Namespace) -> int:
    nri, kubelet = options.command in {"run", "nri"}, options.command in {"run", "device-plugin"}
    try:
        settings, inherited = _inherited(settings_of(options)) if nri else (settings_of(options), None)
        if kubelet and not settings.resource:
            raise SettingsError(
                "nothing to advertise: name at least one kind, such as --resource device.example.com/gpu"
            )
    except SettingsError as error:
        print(f"nri-cdi: {error}", file=sys.stderr)
        return 2
    from nri_cdi import agent  # noqa: PLC0415  # only now is it known that there is something to serve
    from nri_cdi.telemetry import set_up  # noqa: PLC0415

    set_up(settings.log_level, settings.log_format)
    try:
        status = agent.run(settings, nri=nri, kubelet=kubelet, inherited=inherited)
    except ValueError as error:  # a kind that Kubernetes refuses as a resource name
        print(f"nri-cdi: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f'nri-cdi: {error}; the kubelet half needs grpcio: pip install "nri-cdi[kubelet]"', file=sys.stderr)
        return 3
    sys.stdout.flush()
    logging.shutdown()
    # All has been ended in order. The interpreter would wait for a thread that hangs, such as one that looks at a container's devices before its start.
    os._exit(status)

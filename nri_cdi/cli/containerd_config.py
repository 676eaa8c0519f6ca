"""`nri-cdi containerd-config VERSION`: what containerd's configuration must say so that NRI plugins can connect. It is printed, nothing is changed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from nri_cdi.cli.serve import add_settings, settings_of
from nri_cdi.settings import SettingsError

if TYPE_CHECKING:
    import argparse

RELEASES: Final = {"2": "containerd 1.7", "3": "containerd 2.0 and newer", "4": "containerd 2.3 and newer"}
"""What reads which version of the configuration; the running one is in the first lines of `containerd config dump`."""

_NRI: Final = """\
# for {releases}: in /etc/containerd/config.toml, which may have these tables already; then restart containerd (containers live on)
version = {version}

[plugins.{quote}io.containerd.nri.v1.nri{quote}]
  disable = false
  disable_connections = false
  socket_path = "{socket}"
  plugin_registration_timeout = "5s"
  plugin_request_timeout = "2s"
"""

_REQUIRED: Final = """
  # containerd 2.2 and newer (older ones pass over it): a pod with the annotation
  #     required-plugins.noderesource.dev: '["{name}"]'
  # is refused its containers while nri-cdi is absent; no other pod is touched
  [plugins.{quote}io.containerd.nri.v1.nri{quote}.default_validator]
    enable = true
"""


def register(commands: Any) -> None:  # noqa: ANN401  # argparse does not export the type
    """Add the command."""
    parser = commands.add_parser(
        "containerd-config",
        help="print what containerd's configuration must say; nothing is changed",
        description="Print what containerd's configuration must say so that nri-cdi can connect. It is printed, nothing is changed.",
        epilog="Example: nri-cdi containerd-config 2        (the version is in the file's first lines: version = 2)",
    )
    parser.add_argument(
        "version",
        choices=tuple(RELEASES),
        help="the configuration's version: " + ", ".join(f"{version} for {of}" for version, of in RELEASES.items()),
    )
    parser.add_argument(
        "--required-plugins",
        action="store_true",
        help="let pods say by an annotation that they cannot do without nri-cdi (containerd 2.2 and newer)",
    )
    add_settings(parser, "nri_socket", "plugin_name")
    parser.set_defaults(run=_print)


def _print(options: argparse.Namespace) -> int:
    try:
        settings = settings_of(options)
    except SettingsError as error:
        print(f"nri-cdi: {error}", file=sys.stderr)
        return 2
    print(
        config(options.version, settings.nri_socket, settings.plugin_name if options.required_plugins else None), end=""
    )
    return 0


def config(version: str, socket: str, required: str | None) -> str:
    """The TOML for a configuration version; with the validator where `required` names the plugin that pods may require."""
    quote = '"' if version == "2" else "'"
    text = _NRI.format(version=version, releases=RELEASES[version], quote=quote, socket=socket)
    return text + (_REQUIRED.format(quote=quote, name=required) if required else "")

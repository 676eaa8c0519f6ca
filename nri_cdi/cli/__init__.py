"""The command line: `nri-cdi`. Thin: it parses, calls, prints. Data on stdout, words on stderr.

Exit status: 0 yes, 1 no (invalid, unresolved, a finding), 2 wrong use, 3 the environment (a missing file, no permission).
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from nri_cdi import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

WRONG_USE = 2
ENVIRONMENT = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `nri-cdi` with these arguments (default: the process's own). Returns the exit status."""
    options = _parser(sys.argv[1:] if arguments is None else arguments).parse_args(arguments)
    try:
        status: int = options.run(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"nri-cdi: {error}", file=sys.stderr)
        return ENVIRONMENT
    return status


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the subcommands that `arguments` may need: a serving process does not load what it does not use."""
    parser = argparse.ArgumentParser(
        prog="nri-cdi", description="Kubernetes containers get their CDI devices through NRI: exactly, or not at all."
    )
    parser.add_argument("--version", action="version", version=f"nri-cdi {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = next((a for a in arguments if not a.startswith("-")), None)
    from . import serve  # noqa: PLC0415  # see above

    serve.register(commands)
    if command not in serve.COMMANDS:
        from . import allocate, cdi  # noqa: PLC0415

        allocate.register(commands)
        cdi.register(commands)
    return parser

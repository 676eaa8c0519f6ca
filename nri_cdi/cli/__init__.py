"""The command line: `nri-cdi`. Thin: it parses, calls, prints. Data on stdout, words on stderr.

Exit status: 0 yes, 1 no (invalid, unresolved, a finding), 2 wrong use, 3 the environment (a missing file, no permission).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from nri_cdi import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NoReturn

WRONG_USE = 2
ENVIRONMENT = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `nri-cdi` with these arguments (default: the process's own). Returns the exit status."""
    options = build(sys.argv[1:] if arguments is None else arguments).parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()  # here, where a reader that is gone is expected
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"nri-cdi: {error}", file=sys.stderr)
        return ENVIRONMENT
    return status


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors say what to write instead. Flags are not abbreviated: a new one must not change what an old one means."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # what argparse takes
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """End with status 2 and a sentence."""
        self.exit(
            WRONG_USE, f"{self.prog}: {message}{self._instead(message)}\n{self.prog} --help lists what there is\n"
        )

    def _instead(self, message: str) -> str:
        import difflib  # noqa: PLC0415  # only for an error

        wrong = re.search(r"unrecognized arguments: (\S+)|invalid choice: '([^']*)'", message)
        if wrong is None:
            return ""
        word = (wrong[1] or wrong[2]).partition("=")[0]
        words = set(self._words())
        if word in words:
            return "; this command does not take it"
        near = difflib.get_close_matches(word, sorted(words), 1)
        return f"; did you mean {near[0]}?" if near else ""

    def _words(self) -> Iterator[str]:
        """All flags and commands of this parser and of those below it."""
        for action in self._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # argparse has no other way to ask
                for name, parser in action.choices.items():
                    yield name
                    yield from parser._words()  # noqa: SLF001  # a Parser


def build(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the subcommands that `arguments` may need: a serving process does not load what it does not use."""
    parser = Parser(
        prog="nri-cdi",
        description="Kubernetes containers get their CDI devices through NRI: exactly, or not at all.",
        epilog="Example: nri-cdi run --resource device.example.com/gpu",
    )
    parser.add_argument("--version", action="version", version=f"nri-cdi {__version__}")
    commands: Any = parser.add_subparsers(metavar="COMMAND", required=True)
    command = next((a for a in arguments if not a.startswith("-")), None)
    from . import serve  # noqa: PLC0415  # see above

    serve.register(commands)
    if command not in serve.COMMANDS:
        from . import allocate, cdi, completion, containerd_config, doctor, status, uninstall_check  # noqa: PLC0415

        for module in (allocate, cdi, completion, containerd_config, doctor, status, uninstall_check):
            module.register(commands)
    return parser

"""What the verbs of `nri-cdi cdi` share: arguments, reading, printing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from nri_cdi import cdi
from nri_cdi.cli import Parser
from nri_cdi.cli.table import columns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Verbs = argparse._SubParsersAction["Words"]  # noqa: SLF001  # argparse names it nowhere else

YES: Final = 0
NO: Final = 1
ENVIRONMENT: Final = 3

STDIN: Final = "-"

SIZE_MAX: Final = 64 << 20
"""Bytes read of any input: a spec file has at most half of that, and an OCI spec is far smaller."""


class Words(Parser):
    """A parser that takes device names as they come: `-a/b=c` is no option. With `any_word`, whatever is no option of ours is a name."""

    any_word = False

    def _parse_optional(self, arg_string: str) -> Any:  # noqa: ANN401  # what argparse makes of an option
        known = arg_string.partition("=")[0] in self._option_string_actions or arg_string[:2] in {"-o", "-h"}
        is_name = not arg_string.startswith("--") and "/" in arg_string
        return None if not known and (self.any_word or is_name) else super()._parse_optional(arg_string)


def add_verb(verbs: Verbs, name: str, run: Callable[[argparse.Namespace], int], about: str, example: str) -> Words:
    """A verb that calls `run`; what it does in a sentence, and an example for `--help`."""
    parser = verbs.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=f"Example: nri-cdi cdi {example}"
    )
    parser.set_defaults(run=run)
    return parser


def add_directories(parser: argparse.ArgumentParser) -> None:
    """Add `--cdi-dir`."""
    parser.add_argument(
        "--cdi-dir",
        action="append",
        default=[],
        metavar="DIR",
        help=f"a directory of spec files; the later wins (repeatable, default {' and '.join(cdi.DEFAULT_DIRECTORIES)})",
    )


def add_output(parser: argparse.ArgumentParser, *formats: str) -> None:
    """Add `-o`; the first format is the default."""
    parser.add_argument(
        "-o", "--output", choices=formats, default=formats[0], help=f"the form of the output (default {formats[0]})"
    )


def snapshot(arguments: argparse.Namespace) -> cdi.Snapshot:
    """What is in the directories of `--cdi-dir` now."""
    return cdi.Snapshot.build(cdi.scan_directories(arguments.cdi_dir))


def read(path: str) -> bytes:
    """A file of any kind, or standard input for `-`. Raises OSError."""
    if path == STDIN:
        return sys.stdin.buffer.read(SIZE_MAX)
    with open(path, "rb") as file:  # noqa: PTH123 - a Path would clean the name that error texts repeat
        return file.read(SIZE_MAX)


def show(arguments: argparse.Namespace, answer: Mapping[str, Any], table: Callable[[], None]) -> None:
    """The answer in the form of `-o`: as data, or as `table` prints it for people."""
    if arguments.output == "json":
        print_json(answer)
    elif arguments.output == "yaml":
        print_yaml(answer)
    else:
        table()


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Rows of cells under one another."""
    for line in columns(list(rows)):
        say_out(line)


def print_json(value: object) -> None:
    """JSON on standard output."""
    say_out(json.dumps(value, indent=2))


def print_yaml(value: Mapping[str, Any]) -> None:
    """YAML on standard output."""
    from nri_cdi.cdi.text import to_yaml  # noqa: PLC0415  # only for this form

    say_out(to_yaml(value).removesuffix("\n"))


def say_out(text: str) -> None:
    """A line of standard output. File names need not be UTF-8."""
    print(text.encode("utf-8", "backslashreplace").decode())


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(text.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)

"""`nri-cdi completion bash|zsh|fish`: a script that completes commands, verbs and flags, made from the parser itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BASH = """\
# nri-cdi: completion for bash; eval "$(nri-cdi completion bash)"
_nri_cdi() {{
    local path="nri-cdi" word words
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$path $word" in
{paths}) path="$path $word" ;;
        esac
    done
    case "$path" in
{words}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _nri_cdi nri-cdi
"""

ZSH = "#compdef nri-cdi\nautoload -U +X bashcompinit && bashcompinit\n"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command; it sets `run`, which takes the parsed arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "completion",
        help="print a shell's completion script",
        description="Print a script that completes commands, verbs and flags.",
        epilog='Example: eval "$(nri-cdi completion bash)"',
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from nri_cdi.cli import build  # noqa: PLC0415  # it imports this

    table = dict(_words(build(()), "nri-cdi"))
    if arguments.shell == "fish":
        print("# nri-cdi: completion for fish; nri-cdi completion fish | source")
        for line in _fish(table):
            print(line)
        return 0
    paths = " | \\\n".join(f'            "{path}"' for path in table if path != "nri-cdi")
    words = "\n".join(f'        "{path}") words="{" ".join(sorted(found))}" ;;' for path, found in table.items())
    print((ZSH if arguments.shell == "zsh" else "") + BASH.format(paths=paths, words=words), end="")
    return 0


def _words(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, dict[str, str]]]:
    """For each command and verb what may follow it, with its help: words that begin with - are flags."""
    found: dict[str, str] = {}
    below: list[Any] = []
    for action in parser._actions:  # noqa: SLF001  # argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # as above
            found |= {one.dest: one.help or "" for one in action._choices_actions}  # noqa: SLF001  # as above
            below += action.choices.items()
        elif action.option_strings:
            found |= dict.fromkeys(action.option_strings, action.help or "")
        elif action.choices:
            found |= dict.fromkeys(action.choices, "")
    yield path, found
    for name, one in below:
        yield from _words(one, f"{path} {name}")


def _fish(table: dict[str, dict[str, str]]) -> Iterator[str]:
    for path, found in table.items():
        verbs = path.split()[1:]
        seen = " ; and ".join(f"__fish_seen_subcommand_from {verb}" for verb in verbs)
        condition = seen or "__fish_use_subcommand"
        for word, about in found.items():
            text = about.replace("%%", "%").replace("\\", "\\\\").replace("'", "\\'")
            if word.startswith("--"):
                kind = f"-l {word[2:]}"
            elif word.startswith("-"):
                kind = f"-s {word[1:]}"
            else:
                kind = f"-f -a {word}"
            yield f"complete -c nri-cdi -n '{condition}' {kind} -d '{text}'"

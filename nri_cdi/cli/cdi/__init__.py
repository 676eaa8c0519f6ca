"""`nri-cdi cdi ...`: the CDI library on the command line.

Data goes to standard output, words to standard error. Exit status: 0 yes, 1 no (invalid, unresolved), 2 wrong use, 3 the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import apply, check, listing, make, monitor
from .words import Words

if TYPE_CHECKING:
    import argparse


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cdi` and its verbs; each sets `run`, which takes the parsed arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "cdi",
        help="look at CDI specs, make and apply them",
        description="Look at CDI specs, make and apply them.",
        epilog="Example: nri-cdi cdi devices",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=Words)
    for module in (check, listing, apply, make, monitor):
        module.register(verbs)

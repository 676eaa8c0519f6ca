#!/usr/bin/env python3
"""Write the tables of docs/fail-closed.md from docs/data: `python hack/pages.py`; with --check only say whether they are as they must be."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))  # it runs from a checkout that nobody has installed

# below the line that makes them importable
import refusals  # noqa: E402
from lab import outcomes  # noqa: E402

PAGE: Final = CHECKOUT / "docs" / "fail-closed.md"
NOT_MEASURED: Final = "Not measured in this checkout: `python hack/refusals.py` does it."


def tables() -> dict[str, str]:
    """The tables by the name in their marker."""
    measured = json.loads(refusals.RECORD.read_text()) if refusals.RECORD.exists() else None
    return {
        "outcomes": outcomes.table(outcomes.load()),
        "refusals": NOT_MEASURED if measured is None else refusals.table(measured),
    }


def filled(page: str) -> str:
    """The page with its tables between their markers. Raises ValueError for a marker that is missing."""
    for name, text in tables().items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if len(pattern.findall(page)) != 1:
            raise ValueError(
                f"{PAGE.name} must have the marker <!-- table: {name} --> once, and <!-- end --> behind it"
            )
        head, tail = pattern.split(page)[0], pattern.split(page)[-1]
        page = f"{head}<!-- table: {name} -->\n\n{text}\n\n<!-- end -->{tail}"
    return page


def main() -> int:
    """Write the page, or check it."""
    before = PAGE.read_text()
    after = filled(before)
    if "--check" in sys.argv[1:]:
        if before != after:
            print(f"{PAGE} is not what docs/data says: run hack/pages.py", file=sys.stderr)
        return int(before != after)
    PAGE.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())

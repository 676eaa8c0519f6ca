"""The table of the lifecycle on the real kubelet names tests that there are."""

from __future__ import annotations

import ast
from pathlib import Path

from lab.lifecycle import OF_KUBERNETES, PARTS, Result, table

CLUSTER = Path(__file__).resolve().parents[1] / "cluster"


def test_each_row_is_a_test_and_each_case_is_one_of_its_cases() -> None:
    sources = [path.read_text() for path in CLUSTER.glob("test_*.py")]
    tests = {
        node.name for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)
    }
    text = "".join(sources)
    rows = [row for part in PARTS.values() for row in part]
    assert [row for row in rows if row.test not in tests or (row.case and f'"{row.case}"' not in text)] == []
    assert len({(row.test, row.case) for row in rows}) == len(rows)
    assert len(OF_KUBERNETES) == 11


def test_a_column_for_each_runtime_says_what_failed_and_what_did_not_run() -> None:
    first, second, third = OF_KUBERNETES[:3]
    results: dict[tuple[str, str, str], Result | str] = {
        (first.test, "1.7", first.case): Result("passed", 3.25),
        (first.test, "2.1", first.case): Result("failed", 60.0),
        (second.test, "2.1", second.case): Result("passed", 1.0),
        ("test_something_else", "2.4", ""): Result("passed", 1.0),
        (third.test, "1.7", third.case): Result("passed", 2.0),
        (third.test, "2.1", third.case): "on 1.7 only",
        (third.test, "2.4", third.case): "on 1.7 only",
    }
    lines = table(results)
    assert [line.split()[-4:] for line in lines[:1]] == [["containerd", "1.7", "containerd", "2.1"]]
    assert lines[2].endswith("passed   3.2 s    FAILED  60.0 s")
    assert lines[3].split()[-4:] == ["-", "passed", "1.0", "s"]
    assert lines[4].endswith("passed   2.0 s    on 1.7 only")
    assert lines[5].split()[-2:] == ["-", "-"]
    assert table({}) == []

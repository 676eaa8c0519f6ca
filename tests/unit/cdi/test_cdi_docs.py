"""What the pages say about the library works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nri_cdi.cli import main

DOCS = Path(__file__).parents[3] / "docs"


def test_the_examples_of_the_library_run_one_after_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "cdi-library.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"directory": str(tmp_path)}
    for example in examples:
        exec(compile(example, "cdi-library.md", "exec"), names)  # noqa: S102 - our own page
    assert len(examples) == 6
    assert f"{tmp_path}/vendor.com-gpu.yaml" in capsys.readouterr().out


VERBS = sorted(set(re.findall(r"^    nri-cdi cdi ([a-z|]+)", (DOCS / "cdi.md").read_text(), re.MULTILINE)))


@pytest.mark.parametrize("verb", [verb for verbs in VERBS for verb in verbs.split("|")])
def test_the_verbs_of_the_page_are_there(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["cdi", verb, "--help"])
    assert end.value.code == 0
    assert "Example:" in capsys.readouterr().out

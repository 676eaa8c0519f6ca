"""The Go CDI library, built from the pinned module in `go/` into the cache, and asked line by line."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

SOURCE = Path(__file__).parent / "go"
_GO = "/usr/local/go/bin"


class Missing(Exception):
    """The program cannot be had here; the message says what is missing."""


def build(source: Path = SOURCE, name: str = "cdi-go") -> Path:
    """The program of the module in `source`; built when it is not in the cache, where it gets this name. Raises Missing."""
    pins = hashlib.sha256(
        b"".join((source / part).read_bytes() for part in ("go.mod", "go.sum", "main.go"))
    ).hexdigest()
    cache = Path(os.environ.get("NRI_CDI_CACHE") or Path.home() / ".cache" / "nri-cdi")
    program = cache / "tools" / f"{name}-{pins[:16]}"
    if program.exists():
        return program
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:{_GO}")
    if go is None:
        raise Missing(f"no Go on this machine to build {name} with")
    program.parent.mkdir(parents=True, exist_ok=True)
    temporary = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [go, "build", "-mod=readonly", "-trimpath", "-o", str(temporary), "."],
        cwd=source,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Missing(f"{name} cannot be built: {done.stderr.strip()[-500:]}")
    temporary.rename(program)
    return program


class GoLibrary:
    """The running program."""

    def __init__(self) -> None:
        """Build and start it. Raises Missing."""
        self._process = subprocess.Popen([build()], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """One question: {"data"} (a file's content in base64) or {"dirs", "names", "oci"}."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def spec(self, content: bytes) -> dict[str, Any]:
        """What a file of this content is: {"spec"}, {"error"}, or {"panic"} where the library crashes."""
        return self.ask({"data": base64.b64encode(content).decode()})

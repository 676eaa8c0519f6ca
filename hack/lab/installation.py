"""A second installation of nri-cdi on a node, of another version, as an upgrade finds one.

Every file, socket, lock and mark that a process of one version leaves is then met by a process of another. What it cannot show is a format that has
changed between two releases: for that give the checkout of an older one.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from lab.agent import CHECKOUT
from nri_cdi import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from lab.sandbox import Sandbox

OTHER_VERSION: Final = "0.0.1"
"""What the copy of this checkout says that it is."""

_HOME: Final = "/opt/nri-cdi-other"


def another(sandbox: Sandbox, checkout: Path | None = None) -> str:
    """Install the nri-cdi of `checkout` in the sandbox, or a copy of this one as `OTHER_VERSION`. Returns its entry of PYTHONPATH inside."""
    package = sandbox.path(_HOME) / "nri_cdi"
    shutil.copytree((checkout or CHECKOUT) / "nri_cdi", package, ignore=shutil.ignore_patterns("__pycache__"))
    if checkout is None:
        said = package / "__init__.py"
        said.write_text(said.read_text().replace(f'"{__version__}"', f'"{OTHER_VERSION}"'))
    return _HOME

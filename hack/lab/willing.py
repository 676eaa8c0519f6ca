"""Says "ready" to every question of PreStartContainer, as an NRI half does that is about to die: `willing.py RUN_DIR NRI_SOCKET`.

Between PreStartContainer and CreateContainer anything may happen. With this in the NRI half's place it has happened each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it runs from a checkout that nobody has installed

from nri_cdi.readiness import Server, Slots  # below the line that makes it importable

if __name__ == "__main__":
    server = Server(Slots(sys.argv[1], sys.argv[2]).path("10", "willing", "sock"), lambda _names: None)
    print("at work", flush=True)
    server.run()

"""Time until a process is ready."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any


def startup() -> dict[str, Any]:
    """Seconds to import the client in a fresh process, the best of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import serving.client"], check=True)
        times.append(time.perf_counter() - start)
    return {"import_client_s": round(min(times), 3)}

"""What a folder takes on the disk; a file with two names counts once."""

from __future__ import annotations

import os
from pathlib import Path


def taken(folder: Path) -> dict[str, int]:
    """Returns bytes by part: the entries of the folder with the most, in all under "all", and `files`, how many."""
    parts: dict[str, int] = {}
    seen: set[tuple[int, int]] = set()
    for path, _, names in os.walk(folder):
        for name in names:
            file = Path(path, name)
            state = file.lstat()
            if (state.st_dev, state.st_ino) not in seen:
                seen.add((state.st_dev, state.st_ino))
                part = file.relative_to(folder).parts[0]
                parts[part] = parts.get(part, 0) + state.st_blocks * 512
    return {**parts, "all": sum(parts.values()), "files": len(seen)}

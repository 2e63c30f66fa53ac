"""What a figure depends on: code behind it makes it stale, documents and other code do not; so do settings and data."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from benchmarks.quality import closed_form, code_digest
from benchmarks.quality.provenance import CHECKED, Provenance, data_digest
from benchmarks.quality.rows import ROWS
from benchmarks.targeting_study.datasets import read_data_set
from tfx_pipeline.datasets.simulate import simulate

HELPERS = """
import numpy as np

SCALE = 2.0
OTHER = 3.0

def used(x):
    \"\"\"Says something.\"\"\"
    return SCALE * x  # why

def unused(x):
    return OTHER * x
"""
ROW = """
from benchmarks.package import Tower
from benchmarks.package import helpers

class Base:
    def fit(self, x):
        return helpers.used(x)

class Fitted(Base):
    pass

def row(x):
    return Fitted().fit(x)

def towers(x):
    from benchmarks.package.deep import late
    return Tower(late(x))
"""
FILES = {
    "helpers.py": HELPERS,
    "rows.py": ROW,
    "__init__.py": "from benchmarks.package.deep import Tower",
    "deep.py": "class Tower:\n    size = 1\n\ndef late(x):\n    return x",
}
#: File, old, new, whether `row` is another then, whether `towers` is.
CHANGES = [
    ("helpers.py", "SCALE = 2.0", "SCALE = 2.5", True, False),
    ("helpers.py", "SCALE * x", "SCALE - x", True, False),
    ("helpers.py", "OTHER * x", "OTHER - x", False, False),
    ("helpers.py", "Says something.", "Says another thing.", False, False),
    ("helpers.py", "# why", "# why not", False, False),
    ("rows.py", "helpers.used(x)", "helpers.unused(x)", True, False),
    ("rows.py", "    pass", "    fit = None", True, False),
    ("deep.py", "size = 1", "size = 2", False, True),
    ("deep.py", "return x", "return -x", False, True),
]


def digests(root: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    for name, text in files.items():
        path = root / "benchmarks" / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code_digest, "ROOT", root)
    for cached in ("_module", "_path", "_named_by", "_structure", "digest_of"):
        getattr(code_digest, cached).cache_clear()
    row, towers = (code_digest.digest_of(frozenset({("benchmarks.package.rows", name)})) for name in ("row", "towers"))
    return row, towers


@pytest.mark.parametrize("change", CHANGES, ids=[f"{file}: {new}" for file, _, new, *_ in CHANGES])
def test_only_code_behind_a_row_changes_its_digest(
    change: tuple[str, str, str, bool, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, old, new, row, towers = change
    before = digests(tmp_path / "before", FILES, monkeypatch)
    after = digests(tmp_path / "after", {**FILES, file: FILES[file].replace(old, new)}, monkeypatch)
    assert FILES[file].count(old) == 1
    assert (before[0] != after[0], before[1] != after[1]) == (row, towers)


@pytest.fixture(autouse=True)
def forget() -> None:
    """The caches are of this repository again."""
    for cached in ("_module", "_path", "_named_by", "_structure", "digest_of"):
        getattr(code_digest, cached).cache_clear()


def test_every_row_has_a_digest_of_what_it_is_made_of() -> None:
    found = {row.name: code_digest.code_digest(row.fit) for row in ROWS}
    assert found["content cosine"] != found["kernel ridge"] != found["best"]
    both = [partial(closed_form.ridge_to_factors, own=own) for own in (True, False)]
    assert code_digest.code_digest(both[0]) == code_digest.code_digest(both[1])  # settings are kept apart
    named: partial[Any] = partial(dict, fit=closed_form.kernel_ridge)  # a function among the arguments
    assert code_digest.code_digest(named) == code_digest.code_digest(closed_form.kernel_ridge)
    assert code_digest.code_digest(sys.exit, np.mean, 7) == code_digest.code_digest()  # nothing of ours


def test_a_kept_row_is_stale_when_anything_it_is_made_from_changed() -> None:
    row = next(row for row in ROWS if row.name == "ridge to factors")
    now = Provenance.of(row, "data", None)
    kept = now.arrays()
    assert now.stale_in(kept) == []
    for name in CHECKED:
        assert now.stale_in({**kept, name: np.array("other")}) == [name]
        assert now.stale_in({other: value for other, value in kept.items() if other != name}) == [name]
    assert now.stale_in({**kept, "commit": np.array("another")}) == []
    assert Provenance.of(row, "data", 1).stale_in(kept) == ["epochs"]


def test_a_data_digest_tells_songs_plays_and_fields(tmp_path: Path) -> None:
    simulate(tmp_path / "catalogue", songs=60, users=20, plays=300, seed=1)
    data = read_data_set(tmp_path / "catalogue")
    again = data_digest(read_data_set(tmp_path / "catalogue"))
    assert data_digest(data) == again == data_digest(replace(data, name="other", folder=tmp_path))
    other = sparse.csr_matrix(data.plays + sparse.eye(*data.plays.shape, dtype=int))
    changed = [
        replace(data, plays=other),
        replace(data, songs=np.roll(data.songs, 1)),
        replace(data, features=data.features.take(np.roll(np.arange(len(data.songs)), 1))),
        replace(data, fields=data.fields[1:]),
    ]
    assert len({again, *map(data_digest, changed)}) == 1 + len(changed)

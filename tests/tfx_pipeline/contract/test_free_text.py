"""A string column that is free text is named; categories are not."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import check
from tfx_pipeline.contract.column_notes.free_text import FreeText

TEXT = "a song about the rain over the harbour, number {}"


def note(values, batch=1000):
    text = FreeText()
    for start in range(0, len(values), batch):
        text.add(pa.array(values[start : start + batch], pa.string()))
    return text.note("attribute_description")


@pytest.mark.parametrize(
    ("values", "percent"),
    [
        ([TEXT.format(i) for i in range(300)], "100%"),
        ([TEXT.format(i) for i in range(300)] + [None] * 900, "100%"),
        ([TEXT.format(i % 98) for i in range(100)], "98%"),
        (["\u6b4c\u8a5e" * 20 + str(i) for i in range(20)], "100%"),
        ([TEXT.format(i % 89) for i in range(100)], None),  # 89 % differ.
        ([f"artist {i}" for i in range(300)], None),  # Short.
        ([TEXT.format(i % 10) for i in range(300)], None),  # Long, but of few kinds.
        ([TEXT.format(i) for i in range(19)], None),  # Too few to say.
        ([None] * 300, None),
        ([], None),
    ],
)
def test_long_values_that_differ_are_free_text(values, percent):
    found = note(values)
    assert (found is None) == (percent is None)
    if percent:
        assert found.startswith(f"attribute_description: {percent} of the values differ and are long")
        assert "free text, not like a category" in found


@pytest.mark.parametrize(("songs", "texts", "named"), [(1500, 1500, True), (1500, 1400, True), (3000, 1200, False)])
def test_a_sample_of_the_values_is_enough(monkeypatch, songs, texts, named):
    monkeypatch.setattr("tfx_pipeline.contract.column_notes.free_text._MOST_KEPT", 200)
    order = np.random.default_rng(0).permutation(songs) % texts
    text = FreeText()
    for block in np.array_split(order, 7):
        text.add(pa.array([TEXT.format(i) for i in block]))
        assert len(text._hashes) <= 200
    assert (text.note("attribute_description") is not None) == named


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_contract_names_the_column(tmp_path, kind):
    rows = [(f"s{i}", TEXT.format(i), f"g{i % 3}", i) for i in range(50)]
    if kind == "csv":
        lines = [f'{song},"{text}",{genre},{number}' for song, text, genre, number in rows]
        head = "song_id,attribute_description,attribute_genre,audio_number\n"
        (tmp_path / "songs.csv").write_text(head + "\n".join(lines))
    else:
        names = ["song_id", "attribute_description", "attribute_genre", "audio_number"]
        pq.write_table(
            pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), tmp_path / "songs.parquet"
        )
    (tmp_path / "plays.csv").write_text("user_id,song_id\nu,s0\n")
    notes = [text for text in check(tmp_path).notes if "free text" in text]
    assert len(notes) == 1 and notes[0].startswith("attribute_description: 100% of the values differ")

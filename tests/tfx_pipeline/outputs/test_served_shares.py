"""Of a song that a run has not seen: what gives its scores, and how likely matches are; asked of the pushed model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.serving import small_export
from tests.serving.small_explained import NEW, PARTS, WARM, planted_model, served
from tests.serving.test_chance import SCALE
from tests.tfx_pipeline.outputs.small_result import small_input
from tfx_pipeline import ask
from tfx_pipeline.runtime.run_folder import RunFolder

pytestmark = pytest.mark.slow  # a model is trained and exported


def run_folder(home: Path) -> RunFolder:
    columns = ("song_id", *(field.name for field in small_export.FIELDS))
    return small_input(home, {name: [song[name] for song in [*WARM, *NEW]] for name in columns})


def asked(capsys: pytest.CaptureFixture[str], folder: RunFolder, song: dict) -> dict:
    assert ask.main([str(folder.home), "--song-json", json.dumps(song), "--format", "json", "--matches", "4"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("integer_ids", [False, True])
def test_the_pushed_model_says_what_gives_the_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], integer_ids: bool
) -> None:
    folder = run_folder(tmp_path)
    served(planted_model(), folder.serving / "1", explain=False, integer_ids=integer_ids)
    song = {"attribute_genre": "jazz", "audio_tempo": 1, "lyric_vector": [0, 1, 2], "attribute_tags": None}
    found = asked(capsys, folder, song)
    assert len(found["matches"]) == 4
    for match in found["matches"]:
        assert tuple(match["shares"]) == PARTS
        assert sum(match["shares"].values()) == pytest.approx(match["score"], abs=1e-5)
        assert max(match["shares"], key=match["shares"].get) == "attribute_genre"
        assert match["shares"]["attribute_tags"] == 0
    own = found["matches"][0]["song_id"]  # as text, whatever the index has
    again = asked(capsys, folder, {**song, "song_id": own})
    assert own not in {match["song_id"] for match in again["matches"]} and again["song_id"] == own
    assert asked(capsys, folder, {"attribute_genre": "unheard"})["matches"] == []


def test_the_pushed_model_says_how_likely_matches_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(tmp_path)
    served(planted_model(), folder.serving / "1", explain=False, chances=SCALE)
    matches = asked(capsys, folder, {"attribute_genre": "jazz", "audio_tempo": 1})["matches"]
    chances = [match["chance"] for match in matches]
    assert len(chances) == 4 and chances == sorted(chances, reverse=True) and chances[0] > 0
    assert all(match["chance_low"] <= match["chance"] <= match["chance_high"] for match in matches)
    assert asked(capsys, folder, {"attribute_genre": "unheard"})["matches"] == []


def test_a_model_without_shares_still_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(tmp_path)
    small_export.SmallExport(small_export.catalogue(9)).export(folder.serving / "1")
    found = asked(capsys, folder, {"attribute_genre": "jazz"})
    assert len(found["matches"]) == 4 and all(match["shares"] == {} for match in found["matches"])

"""Catalogues without enough to learn from are refused at once. The counts agree with a count of every pair."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import ContractError, TrainingNeeds, check, load_prepared, prepare
from tfx_pipeline.contract.__main__ import main
from tfx_pipeline.contract.hashing import string_hashes
from tfx_pipeline.contract.splits import TEST, VALIDATION, WARM, ColdSplit
from tfx_pipeline.contract.training.listening import Listening
from tfx_pipeline.contract.training.pairs import count_pairs
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.labels.config import AudienceConfig

SONGS = 200


def write(folder, plays, songs=SONGS):
    """Write a catalogue of songs s0, s1, ... and plays of (user, song)."""
    folder.mkdir(exist_ok=True)
    ids = [f"s{i}" for i in range(songs)]
    pq.write_table(pa.table({"song_id": ids, "attribute_a": ids, "audio_b": [1.0] * songs}), folder / "songs.parquet")
    users, heard = zip(*plays, strict=True)
    table = {"user_id": [f"u{user}" for user in users], "song_id": [f"s{song}" for song in heard]}
    pq.write_table(pa.table(table), folder / "plays.parquet")
    return folder


def tastes(songs=SONGS, listeners=4, groups=5, each=8):
    """Plays by which songs of one group share listeners: each song has as many listeners as are asked for."""
    generator = np.random.default_rng(0)
    for song in range(songs):
        for listener in generator.permutation(each)[:listeners]:
            yield (song % groups) * each + listener, song


def split_of(song, split=ColdSplit()):  # noqa: B008 - it is frozen
    return split.assign(f"s{song}".encode(), 100)


def refusal(folder, needs=None):
    with pytest.raises(ContractError) as error:
        check(folder, training=needs or TrainingNeeds())
    assert "\n" not in str(error.value)
    return str(error.value)


WARM_SONGS = [song for song in range(SONGS) if split_of(song) == WARM]
TEST_SONGS = [song for song in range(SONGS) if split_of(song) == TEST]
NO_SETTING = "No single setting helps"
LIFTS = TrainingNeeds(audience=AudienceConfig(min_lift=50.0))
MANY = TrainingNeeds(split=ColdSplit(min_listeners=30))
NO_VALIDATION = TrainingNeeds(split=ColdSplit(validation_share=0.0))
CANNOT = {
    # what: (plays, settings, words of the message)
    "one user": ([(0, s) for s in range(SONGS)], None, ["least 3 listeners", "most heard song has 1.", NO_SETTING]),
    "one song": ([(u, 0) for u in range(50)], None, ["validation", NO_SETTING]),
    "one play": ([(0, 0)], None, ["least 3 listeners", NO_SETTING]),
    "one song each": ([(u, u % SONGS) for u in range(5 * SONGS)], None, ["warm songs share a listener", NO_SETTING]),
    "everything": (
        [(u, s) for u in range(9) for s in range(SONGS)],
        None,
        ["over 1 (`aud", "most 1 times", NO_SETTING],
    ),
    "few listeners": (list(tastes(listeners=2)), None, ["least 3", "has 2.", "`split.min_listeners` of 2 there are"]),
    "high bound": (list(tastes()), MANY, ["least 30 listeners (`split.min_l", "`split.min_listeners` of 4 there"]),
    "high lift": (list(tastes()), LIFTS, ["over 50 (`audience.min_lift`)", "`audience.min_lift` of 1 there are"]),
    "no validation": (list(tastes()), NO_VALIDATION, ["(`split.validation_share` 0.0)", "validation_share` of 0.0"]),
    "none held out": ([(u, s) for u, s in tastes() if s in WARM_SONGS[:9]], None, ["validation songs", "share` of 0."]),
    "all held out": ([(u, s) for u, s in tastes() if s in TEST_SONGS], None, ["all of them held out", NO_SETTING]),
}


@pytest.mark.parametrize("what", CANNOT)
def test_a_catalogue_that_cannot_teach_is_refused(tmp_path, what):
    plays, needs, words = CANNOT[what]
    message = refusal(write(tmp_path / "in", plays), needs)
    for word in ["plays.parquet: expected", "Received: ", *words]:
        assert word in message
    with pytest.raises(ContractError):
        prepare(tmp_path / "in", tmp_path / "out", training=needs or TrainingNeeds())
    assert not (tmp_path / "out").exists()
    assert check(tmp_path / "in").num_songs == SONGS  # A refresh needs no plays to learn from.


@pytest.mark.parametrize("what", ["few listeners", "high bound", "high lift", "no validation", "none held out"])
def test_the_setting_that_is_named_helps(tmp_path, what):
    plays, needs, _ = CANNOT[what]
    needs = needs or TrainingNeeds()
    remedy = refusal(write(tmp_path / "in", plays), needs).partition("With `")[2]
    name, _, rest = remedy.partition("` of ")
    section, _, key = name.partition(".")
    value, warm = float(rest.split()[0]), int(rest.split("there are ")[1].split()[0])
    settings = {part: vars(getattr(needs, part)).copy() for part in ("split", "audience")}
    settings[section][key] = int(value) if value.is_integer() else value
    (tmp_path / "settings.json").write_text("\ufeff" + json.dumps(settings), encoding="utf-8")
    notes = check(tmp_path / "in", training=TrainingNeeds.read(tmp_path / "settings.json")).notes
    assert any(f"To learn from: {warm} warm songs" in note for note in notes)


def test_counts_are_reported_and_kept(tmp_path):
    folder = write(tmp_path / "in", tastes())
    catalogue = prepare(folder, tmp_path / "out", training=TrainingNeeds())
    splits = [split_of(song) for song in range(SONGS)]
    warm, validation, test = (splits.count(split) for split in (WARM, VALIDATION, TEST))
    expected = (
        f"To learn from: {warm} warm songs, {warm} of them with similar songs. To judge by: {validation} validation "
        f"songs and {test} test songs. New: 0 songs of fewer than 3 listeners."
    )
    assert expected in catalogue.notes and load_prepared(tmp_path / "out").notes == catalogue.notes
    assert not any("To learn from" in note for note in prepare(folder, tmp_path / "out").notes)


def test_songs_held_out_this_month_are_counted(tmp_path):
    folder, seen = write(tmp_path / "in", tastes()), set()
    for month in ("2026-03", "2026-04", "2026-05"):
        split = ColdSplit(rotate="month", period=month)
        splits = [split_of(song, split) for song in range(SONGS)]
        counts = f"{splits.count(VALIDATION)} validation songs and {splits.count(TEST)} test songs"
        assert any(counts in note for note in check(folder, training=TrainingNeeds(split=split)).notes)
        seen.add(counts)
    assert len(seen) > 1


def test_what_evaluation_lacks_is_noted(tmp_path):
    # Two warm songs that share listeners, one validation song that shares none, two songs that no song is like.
    validation = next(song for song in range(SONGS) if split_of(song) == VALIDATION)
    first, second = WARM_SONGS[:2]
    plays = [(user, song) for user in range(3) for song in (first, second)]
    plays += [(user, validation) for user in range(3, 6)] + [(user, WARM_SONGS[2]) for user in range(6, 9)]
    notes = " ".join(check(write(tmp_path / "in", plays), training=TrainingNeeds()).notes)
    for words in ("3 warm songs, 2 of them", "1 validation songs and 0 test", "without one, no model is pushed",
                  "Recall at 50 among 3 warm songs", "no test results"):  # fmt: skip
        assert words in notes
    plays += [(0, validation)]
    needs = TrainingNeeds(evaluation=EvaluationConfig(k=2))
    notes = " ".join(check(write(tmp_path / "in", plays), training=needs).notes)
    assert "Only 1 validation songs decide" in notes and "Recall at" not in notes and "without one" not in notes


def random_plays(seed, users=60, songs=40, plays=500):
    generator = np.random.default_rng(seed)
    heard = np.unique(np.stack([generator.integers(users, size=plays), generator.integers(songs, size=plays)]), axis=1)
    return heard[0], heard[1], np.array([WARM, WARM, VALIDATION, TEST, WARM] * (songs // 5), object)


@pytest.mark.parametrize("min_lift", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("seed", range(3))
def test_pairs_against_a_count_of_all(seed, min_lift):
    users, songs, splits = random_plays(seed)
    played = np.zeros((60, 40))
    played[users, songs] = 1
    warm = splits == WARM
    of_warm = played[:, warm]
    num_users = (of_warm.sum(1) > 0).sum()
    lift = of_warm.T @ of_warm * num_users / np.outer(of_warm.sum(0), of_warm.sum(0))
    np.fill_diagonal(lift, 0)
    found = count_pairs(users, songs, splits, AudienceConfig(min_lift=min_lift))
    assert found.linked == (lift > min_lift).any(1).sum()
    assert found.strongest == pytest.approx(lift.max())
    assert found.judged == {
        split: int(((played[:, splits == split].T @ of_warm).sum(1) > 0).sum()) for split in (VALIDATION, TEST)
    }
    assert found.is_whole and found.users == num_users


def test_work_is_bounded():
    users, songs, splits = random_plays(0)
    some = count_pairs(users, songs, splits, AudienceConfig(), most_work=300)
    assert not some.is_whole and 0 < some.users < 60
    heavy = count_pairs(np.zeros(40, int), np.arange(40), splits, AudienceConfig(max_songs_per_user=10))
    assert not heavy.is_whole and heavy.users == 1


def test_listening_against_sets_and_in_bounded_memory(monkeypatch):
    monkeypatch.setattr("tfx_pipeline.contract.training.listening._MERGE_FROM", 100)
    generator, ids = np.random.default_rng(0), [f"\u00e9{i}" for i in range(50)]
    seen: set[tuple[int, int]] = set()
    whole, cut = (Listening(pa.array(ids), 7, most) for most in (10**6, 400))
    for _ in range(30):
        users, songs = generator.integers(300, size=200), generator.integers(50, size=200) ** 2 // 50
        batch = pa.RecordBatch.from_pydict(
            {"user_id": [f"u{user}" for user in users], "song_id": [ids[song] for song in songs]}
        )
        seen.update(zip(users.tolist(), songs.tolist(), strict=True))
        whole.add(batch)
        cut.add(batch)
    exact = np.bincount([song for _, song in seen], minlength=50)
    for listening in (whole, cut):
        assert listening.listeners.tolist() == np.minimum(exact, 7).tolist()
    users, songs = whole.plays()
    assert whole.is_whole and len(users) == len(seen)
    assert sorted(np.bincount(users)) == sorted(np.bincount([user for user, _ in seen]))
    assert np.bincount(songs, minlength=50).tolist() == exact.tolist()
    users, _ = cut.plays()
    assert not cut.is_whole and 100 < len(users) <= 400
    assert set(np.bincount(users)) <= set(np.bincount([user for user, _ in seen]))  # Users are kept whole.


def test_hashes_of_strings():
    words = ["", "a", "b", "ab", "ba", "a\0", "\u00e9", "e\u0301", *(f"user {i}" for i in range(100_000)), "x" * 3000]
    array = pa.array([None, *words])
    hashes = string_hashes(array)
    assert len(set(hashes.tolist())) == len(words)  # null and the empty string are one
    assert string_hashes(array.slice(5, 3)).tolist() == hashes[5:8].tolist()
    assert string_hashes(pa.array(["b", "a"])).tolist() == hashes[[3, 2]].tolist()
    assert len(string_hashes(pa.array([], pa.string()))) == 0
    assert 0.49 < np.mean(hashes < np.uint64(2**63)) < 0.51


def test_the_command_counts_with_the_settings_of_the_pipeline(tmp_path, capsys):
    folder = write(tmp_path / "in", tastes(listeners=2))
    assert main([str(folder)]) == 2
    (tmp_path / "settings.json").write_text('{"split": {"min_listeners": 2}, "model": {"epochs": 1}}')
    assert main([str(folder), "--settings", str(tmp_path / "settings.json")]) == 0
    assert "To learn from" in capsys.readouterr().out
    for wrong in ('{"split": {"min_listener": 2}}', '{"split": 2}', "[", '{"split": {"min_listeners": 0}}'):
        (tmp_path / "settings.json").write_text(wrong)
        assert main([str(folder), "--settings", str(tmp_path / "settings.json")]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_defaults_are_those_of_the_pipeline():
    from tfx_pipeline.config import PipelineConfig

    config = PipelineConfig()
    assert TrainingNeeds() == TrainingNeeds(config.split, config.audience, config.evaluation, config.transform)

"""Bad input ends in a stated result or a clear error, never in a silent drop."""

import dataclasses
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tfx_pipeline.targeting import TargetingConfig
from tfx_pipeline.targeting.beam import input_tables
from tfx_pipeline.targeting.beam.audiences import audiences, requested_audiences
from tfx_pipeline.targeting.beam.blocks import Catalogue, Plays
from tfx_pipeline.targeting.beam.candidates import score_songs
from tfx_pipeline.targeting.beam.catalogue_join import usable_plays
from tfx_pipeline.targeting.beam.cold_shard import ShardParts, make_shard
from tfx_pipeline.targeting.beam.listener_vectors import given_listeners

NAN = float("nan")
FAST = TargetingConfig(rule="cat", clusters=4, listeners_per_song=10)


def match(song, **scores):
    return {"song_id": song, "match_ids": list(scores), "match_scores": list(scores.values())}


def vector(song, split="new", embedding=(1.0, 0.0)):
    return {"song_id": song, "split": split, "embedding": list(embedding), "candidate_embedding": list(embedding)}


WARM = [vector("w1", "warm"), vector("w2", "warm", (0.0, 1.0)), vector("w3", "warm", (0.6, 0.8))]
PLAYS: list[dict[str, Any]] = [
    {"user_id": user, "song_id": song, "plays": 2}
    for user, song in [("a", "w1"), ("b", "w1"), ("b", "w2"), ("c", "w2"), ("d", "w2")]
]


def test_every_kind_of_song_has_its_row(run):
    catalogue = [*WARM, *(vector(f"c{i}") for i in range(9)), vector("zero", embedding=(0.0, 0.0))]
    matches = [
        match("c0", w1=0.9, w2=0.5),
        match("c1"),
        match("c2", w1=NAN, w2=float("inf")),
        match("c3", nowhere=0.9, w3=0.4),
        match("c4", w1=0.9, nowhere=0.3, w2=NAN, c4=0.99),
        match("c5", w1=-0.5, w2=0.0),
        {"song_id": "c7", "match_ids": ["w1", "w1", "w2"], "match_scores": [0.2, 0.8, 0.1]},
        match("zero", w1=0.9),
        match("stranger", w1=0.9),
        match("w1", w2=0.9),
    ]
    result = run(FAST, catalogue=catalogue, matches=matches, plays=PLAYS)
    status = {song: row["status"] for song, row in result.summary.items()}
    assert status == {
        **dict.fromkeys(("c0", "c4", "c5", "c7", "zero"), "targeted"),
        **dict.fromkeys(("c1", "c6", "c8"), "no matches"),
        "c2": "no usable matches",
        "c3": "matches have no listeners",
        **dict.fromkeys(("stranger", "w1"), "not a cold song of the catalogue"),
    }
    numbers = ("matches_given", "matches_bad", "matches_kept", "matches_used", "audience", "targets")
    assert {song: [result.summary[song][n] for n in numbers] for song in ("c0", "c2", "c3", "c4", "c7")} == {
        "c0": [2, 0, 2, 2, 4, 4],
        "c2": [2, 2, 0, 0, 0, 0],
        "c3": [2, 0, 2, 0, 0, 0],
        "c4": [4, 2, 2, 1, 2, 2],
        "c7": [3, 1, 2, 2, 4, 4],
    }
    reasons = {row["user_id"]: row["reason_scores"] for row in result.targets if row["song_id"] == "c7"}
    assert reasons["b"] == pytest.approx([0.8, 0.1])
    counts = result.marker["counts"]
    assert (
        counts["cold_rows"] == 10 and counts["matches_rows"] == 10 and counts["cold_songs"] == len(result.summary) == 12
    )


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"rule": "song"}, "song has no vector"),
        ({"rule": "cat", "song_role": "members"}, "song has no vector"),
        ({"rule": "hybrid", "hybrid_with": "song", "count_weight": 0.1}, "song has no vector"),
        ({"rule": "count"}, ""),
        ({"rule": "cat"}, ""),
    ],
)
def test_a_song_without_vector_only_fails_rules_that_need_it(settings, status):
    shard = shard_of_songs(match("c0", w1=0.9), embedding=(0.0, 0.0), audience=["w1"])
    (scored,) = score_songs(shard, TargetingConfig(**settings))
    assert scored.counts["status"] == status and (scored.scores is None) == bool(status)


def test_an_audience_of_one_listeners_without_vector_and_ids_beyond_ascii(run):
    catalogue = [vector("wärm ♫", "warm"), vector("blank", "warm", (0.0, 0.0)), vector("alone"), vector("新曲")]
    plays = [{"user_id": "Zoë", "song_id": "wärm ♫", "plays": 1}, {"user_id": "b", "song_id": "blank", "plays": 9}]
    matches = [match("alone", **{"wärm ♫": 0.9}), match("新曲", **{"wärm ♫": 0.9, "blank": 0.8})]
    result = run(FAST, catalogue=catalogue, matches=matches, plays=plays)
    assert result.of("alone") == ["Zoë"] and result.summary["alone"]["clusters"] == 1
    found = [(r["user_id"], r["score"], r["reason_song_ids"]) for r in result.targets if r["song_id"] == "新曲"]
    assert found == [("Zoë", pytest.approx(1), ["wärm ♫"]), ("b", 0.0, ["blank"])]
    assert result.summary["新曲"]["without_vector"] == 1
    assert result.marker["counts"]["listeners_without_vector"] == 1


@pytest.mark.parametrize("reach", ["filter", "expand"])
def test_who_plays_a_new_song_is_no_target_of_it(run, reach):
    """A new song keeps its targets when it gets its first plays. Its listeners are left out, of this song alone."""
    audience = {play["user_id"] for play in PLAYS if play["song_id"] == "w1"}
    fan = min(audience)
    catalogue = [*WARM, vector("c0"), vector("c1"), vector("held", "test")]
    plays = [*PLAYS, {"user_id": fan, "song_id": "c0", "plays": 3}, {"user_id": fan, "song_id": "held", "plays": 3}]
    matches = [match(song, w1=0.9) for song in ("c0", "c1", "held")]
    config = TargetingConfig(rule="cat", reach=reach, target_splits=("new", "test"))
    result = run(config, catalogue=catalogue, matches=matches, plays=plays)
    reached = audience if reach == "filter" else {play["user_id"] for play in PLAYS}
    assert set(result.of("c1")) == reached == set(result.of("held"))
    assert set(result.of("c0")) == reached - {fan} and result.summary["c0"]["excluded"] == 1
    assert {row["song_id"]: row["split"] for row in result.targets} == {"c0": "new", "c1": "new", "held": "test"}


def test_held_out_songs_get_targets_only_where_they_are_asked_for(run):
    catalogue = [*WARM, vector("c0"), vector("v0", "val"), vector("t0", "test")]
    inputs = {"catalogue": catalogue, "matches": [match(song, w1=0.9) for song in ("c0", "v0", "t0")], "plays": PLAYS}
    assert set(run(FAST, **inputs).summary) == {"c0"}
    asked = run(dataclasses.replace(FAST, target_splits=("val", "test")), **inputs)
    assert {song: row["split"] for song, row in asked.summary.items()} == {"v0": "val", "t0": "test"}


def test_exclusions_that_meet_nobody_are_counted(run):
    given = [("a", "c0"), ("a", "nowhere"), ("nobody", None), ("stranger", None), ("b", None)]
    exclusions = [{"user_id": user, "song_id": song} for user, song in given]
    inputs = {"catalogue": [*WARM, vector("c0")], "matches": [match("c0", w1=0.9)], "plays": PLAYS}
    counts = run(FAST, **inputs, exclusions=exclusions).marker["counts"]
    assert counts["exclusions_of_unknown_songs"] == 1 and counts["listeners_excluded"] == 1
    assert counts["exclusions_of_unknown_listeners"] == 2


def test_a_listener_table_that_lacks_the_audience_leaves_zero_vectors(run):
    """In whatever shards the listeners are: blocks without vectors, of no known length, are joined with others."""
    config = TargetingConfig(rule="song", songs_per_shard=1, plays_per_shard=2)
    inputs = {"catalogue": [*WARM, vector("c0")], "matches": [match("c0", w1=0.9)], "plays": PLAYS}
    result = run(config, **inputs, listeners=[{"user_id": "elsewhere", "embedding": [1.0, 0.0]}])
    assert result.summary["c0"]["without_vector"] == result.summary["c0"]["scored"] > 0


def test_a_query_without_a_direction_reaches_no_strangers(run):
    inputs = {"catalogue": [*WARM, vector("c0")], "matches": [match("c0", w1=0.9)], "plays": PLAYS}
    audience = {play["user_id"] for play in PLAYS if play["song_id"] == "w1"}
    strangers = [{"user_id": f"x{number}", "embedding": [1.0, 0.0]} for number in range(5)]
    result = run(TargetingConfig(rule="cat", reach="expand"), **inputs, listeners=strangers)
    assert {row["user_id"] for row in result.targets} == audience


def test_nothing_at_all_is_a_finished_run(run):
    result = run(FAST, catalogue=WARM, matches=[], plays=[])
    assert result.targets == [] and result.summary == {} and result.marker["targets"]["rows"] == 0


def catalogue_of(*rows):
    return Catalogue.merge([input_tables.pack_catalogue(pa.Table.from_pylist(list(rows), input_tables.CATALOGUE))])


def matches_of(*rows):
    return input_tables.pack_matches(pa.Table.from_pylist(list(rows), input_tables.MATCHES), 50)


def plays_of(*rows):
    schema = pa.schema([field for field in input_tables.PLAYS if field.name in rows[0]])
    return input_tables.pack_plays(pa.Table.from_pylist(list(rows), schema))


def exclusions_of(*rows):
    return input_tables.pack_exclusions(pa.Table.from_pylist(list(rows)))


def listeners_of(*rows):
    return given_listeners([input_tables.pack_listeners(pa.Table.from_pylist(list(rows), input_tables.LISTENERS))])


def shard_of_songs(*rows, vectors=(1.0, 0.0), embedding=(1.0, 0.0), audience=()):
    """A shard of the cold song c0 whose matches are `rows`; listener a plays the songs of `audience`."""
    table = listeners_of({"user_id": "a", "embedding": list(vectors)})
    catalogue = pa.Table.from_pylist([vector("c0", embedding=embedding)], input_tables.CATALOGUE)
    found = []
    if audience:
        played = Plays.merge([plays_of(*({"user_id": "a", "song_id": song} for song in audience))])
        found = [requested_audiences(audiences(played, 10, 0), played.songs.ids)]
    matches = [matches_of(row) for row in rows]
    return make_shard(ShardParts([input_tables.pack_catalogue(catalogue)], matches, found, [table]), FAST)


@pytest.mark.parametrize(
    ("read", "rows", "message"),
    [
        (catalogue_of, [*WARM, vector("w1", "warm")], "`catalogue` must hold every song once. Received: song 'w1'"),
        (catalogue_of, [vector("c0", "hot")], "`split` must be one of .* Received: 'hot' for song 'c0'"),
        (catalogue_of, [vector("c0", embedding=(1.0, NAN))], "`embedding` must be finite. Received: .* for 'c0'"),
        (
            catalogue_of,
            [vector("c0"), vector("c1", embedding=(1.0,))],
            "`embedding` must have one length .* 1 for 'c1', 2",
        ),
        (
            catalogue_of,
            [{**vector("c0"), "candidate_embedding": [1.0]}],
            "`embedding` and `candidate_embedding` must have one length. Received: 2 and 1",
        ),
        (shard_of_songs, [match("c0", w1=0.9)] * 2, "`matches` must hold every song once. Received: song 'c0'"),
        (
            matches_of,
            [{"song_id": "c0", "match_ids": ["w1"], "match_scores": [0.1, 0.2]}],
            "`match_ids` and `match_scores` must have one length. Received: 1 and 2 for song 'c0'",
        ),
        (
            plays_of,
            [{"user_id": "a", "song_id": "w1", "plays": -3}],
            "`plays` must be a whole number of plays, 0 or more. Received: -3 for user 'a', song 'w1'",
        ),
        (
            plays_of,
            [{"user_id": None, "song_id": "w1"}],
            "`user_id` of `plays` must hold an id in every row",
        ),
        (plays_of, [{"user_id": "", "song_id": "w1"}], "`user_id` of `plays` must hold ids that are not empty"),
        (
            plays_of,
            [{"user_id": "a\0", "song_id": "w1"}],
            "`user_id` of `plays` must hold ids that are not empty",
        ),
        (
            lambda *rows: input_tables.pack_plays(pa.Table.from_pylist(list(rows))),
            [{"user_id": "a", "song_id": "w1", "plays": 1.5}],
            "`plays` must be a whole number of plays, 0 or more. Received: 1.5 for user 'a', song 'w1'",
        ),
        (
            lambda *rows: input_tables.pack_plays(pa.Table.from_pylist(list(rows))),
            [{"user_id": "a", "song_id": "w1", "plays": "2"}],
            "`plays` of `plays` must hold whole numbers. Received: string",
        ),
        (
            lambda *rows: input_tables.pack_catalogue(pa.Table.from_pylist(list(rows))),
            [{**vector("c0"), "embedding": "(1, 0)"}],
            "`embedding` of `catalogue` must hold lists of numbers. Received: string",
        ),
        (
            lambda *rows: input_tables.pack_matches(pa.Table.from_pylist(list(rows)), 5),
            [{"song_id": "c0", "match_ids": "w1", "match_scores": [0.5]}],
            "`match_ids` of `matches` must hold lists of strings. Received: string",
        ),
        (
            exclusions_of,
            [{"user_id": "a", "song_id": ""}],
            "`song_id` of `exclusions` must hold ids that are not empty and have no NUL",
        ),
        (plays_of, [{"user_id": "a"}], "`plays` must have a column `song_id`. Received: columns"),
        (
            listeners_of,
            [{"user_id": "a", "embedding": [1.0, 0.0]}] * 2,
            "`listeners` must hold every listener once. Received: user 'a' more than once",
        ),
    ],
)
def test_errors_say_what_is_wrong(read, rows, message):
    with pytest.raises(ValueError, match=message):
        read(*rows)


def test_plays_default_to_one():
    assert plays_of({"user_id": "a", "song_id": "w1"}).counts.tolist() == [1]
    rows = [{"user_id": "a", "song_id": "w1", "plays": None}, {"user_id": "a", "song_id": "w2", "plays": 3}]
    assert plays_of(*rows).counts.tolist() == [1, 3]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float64(), pa.decimal128(38, 0), pa.decimal256(60, 5)])
def test_numbers_of_plays_may_have_any_type_of_numbers(kind):
    ids = pa.array(["a", "b"])
    counts = pa.array([Decimal(7), None], pa.decimal128(20, 0)).cast(kind)
    table = pa.table({"user_id": ids, "song_id": ids, "plays": counts})
    assert input_tables.pack_plays(table).counts.tolist() == [7, 1]


def test_exclusions_from_one_song_and_from_all():
    found = exclusions_of({"user_id": "a", "song_id": None}, {"user_id": "b", "song_id": "c0"})
    assert found.users.tolist() == [b"a", b"b"] and found.songs.tolist() == [b"", b"c0"]
    assert exclusions_of({"user_id": "a"}).songs.tolist() == [b""]
    assert exclusions_of({"user_id": "a", "song_id": None}).songs.tolist() == [b""]


def test_rows_without_plays_are_no_listeners():
    catalogue = catalogue_of(*WARM)
    plays = plays_of({"user_id": "a", "song_id": "w1", "plays": 0}, {"user_id": "b", "song_id": "w1", "plays": 2})
    used, counts = usable_plays(Plays.merge([plays]), catalogue, ("warm",))
    assert used.users.ids.tolist() == [b"b"]
    assert counts["pairs_without_plays"] == 1 and counts["pairs_used"] == 1


def test_vectors_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"`listeners` must have vectors as long as the catalogue's, 2. Received: 3"):
        shard_of_songs(match("c0", w1=0.9), vectors=(1.0, 0.0, 0.0))


def test_an_unknown_input_is_named(run):
    with pytest.raises(ValueError, match=r"`inputs` may hold .* Received: 'friends'"):
        run(FAST, catalogue=WARM, matches=[], plays=PLAYS, friends=[])


def test_a_missing_input_is_named(run):
    with pytest.raises(ValueError, match=r"`inputs` must hold catalogue, matches and plays. Received: \['plays'\]"):
        run(FAST, plays=PLAYS)

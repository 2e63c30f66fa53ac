"""Similar songs against a dense numpy derivation."""

import uuid

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from tfx_pipeline.contract.splits import NEW, TEST, VALIDATION, WARM, ColdSplit
from tfx_pipeline.contract.training.listening import Listening
from tfx_pipeline.contract.training.pairs import count_pairs
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.labels.similar_songs import FindSimilarSongs

pytestmark = pytest.mark.pipeline  # the whole labeller in Beam

AUDIENCE = AudienceConfig()
SPLIT = ColdSplit(validation_share=0.15, test_share=0.15)
TRAINED_ON = (WARM, NEW)


def random_plays(seed: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    popularity = 1 / (1 + np.arange(60))
    songs = rng.choice(60, size=900, p=popularity / popularity.sum())
    users = rng.integers(50, size=900)
    return [(f"u{user}", f"s{song}") for user, song in zip(users, songs, strict=True)]


def tables(plays: list[tuple[str, str]], size: int) -> list[pa.Table]:
    parts = [plays[start : start + size] for start in range(0, len(plays), size)]
    return [
        pa.table({name: [row[place] for row in part] for place, name in enumerate(("user_id", "song_id"))})
        for part in parts
    ]


def similar_songs(plays, config=AUDIENCE, *, batch_size=100, split=SPLIT):
    key = uuid.uuid4().hex
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        similar = pipeline | beam.Create(tables(plays, batch_size)) | FindSimilarSongs(config, split)
        similar | beam.combiners.ToList() | beam.Map(_keep_at, key)
    return RESULTS.pop(key)


RESULTS: dict[str, dict] = {}


def _keep_at(rows, key):
    """The runner works in this process, so its results can be kept here."""
    RESULTS[key] = dict(rows)


def expected(plays, config, split=SPLIT):
    """Dense audience cosine, ties to the smaller id."""
    pairs = sorted({(song.encode(), user) for user, song in plays})
    songs = sorted({song for song, _ in pairs})
    users = sorted({user for _, user in pairs})
    played = np.zeros((len(songs), len(users)), int)
    for song, user in pairs:
        played[songs.index(song), users.index(user)] = 1
    listeners = played.sum(axis=1)
    splits = [split.assign(song, count) for song, count in zip(songs, listeners, strict=True)]
    warm = [index for index, name in enumerate(splits) if name == WARM]
    warm_users = int((played[warm].sum(axis=0) > 0).sum())
    result = {}
    for index, song in enumerate(songs):
        together = played[warm] @ played[index]
        chance = listeners[warm] * listeners[index]
        kept = (together > 0) & (np.array(warm) != index)
        if splits[index] in TRAINED_ON:
            kept &= together * warm_users > config.min_lift * chance
        scored = [(-together[j] / np.sqrt(chance[j]), songs[warm[j]]) for j in np.flatnonzero(kept)]
        best = sorted(scored)[: config.top_m]
        result[song] = (splits[index], int(listeners[index]), [name for _, name in best], [-score for score, _ in best])
    return result


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_dense_derivation(seed):
    plays, config = random_plays(seed), AudienceConfig(top_m=7, shards=3)
    found, wanted = similar_songs(plays, config), expected(plays, config)
    assert found.keys() == wanted.keys()
    for song, (split, listeners, ids, scores) in wanted.items():
        assert found[song].split == split
        assert found[song].listeners == listeners
        np.testing.assert_allclose(found[song].scores, scores, rtol=1e-12)
        assert found[song].ids == ids


@pytest.mark.parametrize("min_lift", [1.0, 1.4])
def test_the_input_contract_counts_the_same(min_lift):
    """Its counts of songs to train on and to judge by are those that this step finds."""
    plays, config = random_plays(5), AudienceConfig(min_lift=min_lift)
    found = similar_songs(plays, config)
    ids = sorted({song for _, song in plays})
    listening = Listening(pa.array(ids), SPLIT.min_listeners)
    users, songs = zip(*plays, strict=True)
    listening.add(pa.RecordBatch.from_pydict({"user_id": list(users), "song_id": list(songs)}))
    splits = np.array([found[song.encode()].split for song in ids], object)
    least = np.minimum([found[song.encode()].listeners for song in ids], SPLIT.min_listeners)
    assert listening.listeners.tolist() == least.tolist()
    counted = count_pairs(*listening.plays(), splits, config)
    assert counted.linked == sum(song.split == WARM and bool(song.ids) for song in found.values()) > 0
    for split in (VALIDATION, TEST):
        assert counted.judged[split] == sum(song.split == split and bool(song.ids) for song in found.values())


def test_order_bundles_and_shards_change_nothing():
    plays = random_plays(2)
    first = similar_songs(plays, AudienceConfig(shards=1))
    shuffled = [plays[index] for index in np.random.default_rng(3).permutation(len(plays))]
    assert similar_songs(shuffled, AudienceConfig(shards=5), batch_size=17) == first


@pytest.mark.parametrize("config", [AudienceConfig(), AudienceConfig(max_songs_per_user=4, max_listeners_per_song=6)])
def test_plays_of_held_out_songs_change_no_label_of_others(config):
    plays = random_plays(4)
    splits = {song: found.split for song, found in similar_songs(plays).items()}
    with_all = similar_songs(plays, config)
    # What warm songs learn is changed by no other song; what new songs teach by no held-out one.
    for splits_kept, judged in (((WARM,), WARM), (TRAINED_ON, NEW)):
        fewer = similar_songs([play for play in plays if splits[play[1].encode()] in splits_kept], config)
        songs = [song for song, split in splits.items() if split == judged]
        assert 3 < len(songs) < len(splits)
        for song in songs:
            assert with_all[song] == fewer[song]


def test_new_songs_with_plays_are_similar_to_warm_ones_and_nothing_to_them():
    found = similar_songs(random_plays(1))
    new = {song for song, similar in found.items() if similar.split == NEW}
    assert any(found[song].ids for song in new)
    assert not new & {other for similar in found.values() for other in similar.ids}


def test_a_heavy_user_is_sampled_by_hash_whatever_the_order():
    plays = [("heavy", f"s{number}") for number in range(100)]
    shuffled = [plays[index] for index in np.random.default_rng(0).permutation(100)]
    everything_warm = ColdSplit(validation_share=0.0, test_share=0.0, min_listeners=1)
    config = AudienceConfig(max_songs_per_user=10, min_lift=0.0)
    found, again = (similar_songs(given, config, split=everything_warm) for given in (plays, shuffled))
    assert found == again
    with_others = [song for song, similar in found.items() if similar.ids]
    assert len(with_others) == 10
    assert all(len(found[song].ids) == 9 for song in with_others)


def test_what_sampled_listeners_share_is_estimated():
    # Listeners 0..3999 of a and b, half of them of c; d has its own few.
    plays = [(f"u{user}", song) for user in range(4000) for song in ("a", "b")]
    plays += [(f"u{user}", "c") for user in range(0, 4000, 2)] + [(f"u{user}", "d") for user in range(5)]
    everything_warm = ColdSplit(validation_share=0.0, test_share=0.0, min_listeners=1)
    exact, sampled = (
        similar_songs(plays, AudienceConfig(min_lift=0.0, max_listeners_per_song=most), split=everything_warm)
        for most in (4000, 1000)
    )
    of_a, of_c = (dict(zip(found[b"a"].ids, found[b"a"].scores, strict=True)) for found in (exact, sampled))
    assert of_c[b"b"] == of_a[b"b"] == 1.0  # the same listeners are kept of both
    # 1,000 listeners tell a share of one half with a deviation of 1.6 %.
    assert of_c[b"c"] == pytest.approx(of_a[b"c"], rel=0.08)
    assert sampled[b"a"].listeners == 4000


def test_a_play_without_a_song_is_refused():
    broken = pa.table({"user_id": ["u", "v"], "song_id": ["s", None]})
    message = r"`song_id` of `plays` must hold an id in every row. Received: 1 null ids"
    with pytest.raises(Exception, match=message), beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([broken]) | FindSimilarSongs(AudienceConfig(), SPLIT)

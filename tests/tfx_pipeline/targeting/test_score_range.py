"""The range that the documents state for the scores of targets holds for every rule, and its ends are near."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tfx_pipeline.targeting import TargetingConfig
from tfx_pipeline.targeting.beam.count_weight import settled
from tfx_pipeline.targeting.rules.score_range import about_scores, in_words, score_range
from tfx_pipeline.targeting.rules.scores import make_query, score_listeners, weighted_counts

CONFIGS = {
    "count": TargetingConfig(rule="count", matches_per_song=7),
    "song": TargetingConfig(rule="song"),
    "average": TargetingConfig(rule="average"),
    "cat": TargetingConfig(rule="cat", clusters=3),
    "cat with centroids": TargetingConfig(rule="cat", clusters=3, song_role="centroids", song_weight=0.5),
    "cat with listeners": TargetingConfig(rule="cat", clusters=3, song_role="listeners", song_weight=2.0),
    "cat, soft": TargetingConfig(rule="cat", clusters=3, pooling="logsumexp"),
    "hybrid": TargetingConfig(count_weight=0.5, matches_per_song=7),
    "hybrid with cat": TargetingConfig(hybrid_with="cat", count_weight=2.0, matches_per_song=7, clusters=2),
    "quota": TargetingConfig(rule="cat", clusters=3, quota=True),
}


def scores(config: TargetingConfig, seed: int) -> np.ndarray:
    """Scores of listeners of any direction, one of them the song's own and one the opposite, who play all matches."""
    rng = np.random.default_rng(seed)
    song = rng.normal(size=4)
    vectors = np.concatenate([rng.normal(size=(30, 4)), song[None], -song[None]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    matches = rng.uniform(-1, 1, config.matches_per_song if config.matches_per_song < 50 else 9)
    matches[0] = 1.0
    plays = rng.random((32, len(matches))) < 0.5
    plays[-2:] = True
    listener, match = np.nonzero(plays)
    counts = weighted_counts(listener, matches[match], 32)
    query = make_query(song, vectors[:, None].astype(np.float32), counts, config, seed)
    if query is not None:
        query = dataclasses.replace(query, count_unit=1.0)
    return score_listeners(vectors[:, None].astype(np.float32), counts, query, config).score


@pytest.mark.parametrize("name", list(CONFIGS))
def test_every_score_lies_in_its_range(name: str) -> None:
    config = CONFIGS[name]
    least, most = score_range(config)
    found = np.concatenate([scores(config, seed) for seed in range(20)])
    assert least - 1e-5 <= found.min() and found.max() <= most + 1e-5
    if name in ("song", "average"):
        assert found.max() > 0.9 * most


def test_what_the_manifest_says() -> None:
    assert about_scores(CONFIGS["hybrid"]) == {
        "count_weight": 0.5,
        "match_scores": [-1.0, 1.0],
        "target_scores": [-1.0, pytest.approx(1 + 0.5 * math.log(8))],
    }
    assert about_scores(CONFIGS["quota"])["target_scores"] == [0.0, None]
    assert in_words(CONFIGS["count"]).endswith(": from 0 to 7.")
    assert "plus 0.5 times log(1 + n)" in in_words(CONFIGS["hybrid"]) and "from -1 to 2.04." in in_words(
        CONFIGS["hybrid"]
    )
    marker = {"settings": dataclasses.asdict(TargetingConfig()), "counts": {}}
    assert settled(marker).count_weight == 0.05  # no validation songs
    chosen = {
        "validation_songs": 3,
        **{f"validation_hits_with_weight_{w:g}": int(w == 0.2) for w in (0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)},
    }
    assert settled({**marker, "counts": chosen}).count_weight == 0.2

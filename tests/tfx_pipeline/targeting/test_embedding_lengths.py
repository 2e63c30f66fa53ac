"""Targeting with embeddings of any length, from plays and from a listener table."""

import numpy as np
import pytest

from tests.vector_lengths import LENGTHS
from tfx_pipeline.targeting import TargetingConfig

WARM, COLD, USERS = 12, 3, 20
CONFIG = TargetingConfig(rule="song", listeners_per_song=100)


def world(length):
    """Songs of random vectors, listeners who play four of the warm ones each, and every warm song as a match."""
    rng = np.random.default_rng(length)
    vectors = {f"song{place:02}": rng.normal(size=length).astype(np.float32) for place in range(WARM + COLD)}
    warm, cold = list(vectors)[:WARM], list(vectors)[WARM:]
    catalogue = [
        {"song_id": song, "split": "warm" if song in warm else "new", "embedding": v, "candidate_embedding": v}
        for song, v in vectors.items()
    ]
    matches = [{"song_id": song, "match_ids": warm, "match_scores": [0.5] * WARM} for song in cold]
    plays = [
        {"user_id": f"user{user:02}", "song_id": str(song), "plays": int(rng.integers(1, 50))}
        for user in range(USERS)
        for song in rng.choice(warm, 4, replace=False)
    ]
    return vectors, {"catalogue": catalogue, "matches": matches, "plays": plays}


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("table", [False, True])
def test_listeners_are_compared_by_their_whole_vectors(run, length, table):
    vectors, rows = world(length)
    rng = np.random.default_rng(0)
    if table:
        tastes = {f"user{user:02}": rng.normal(size=length) for user in range(USERS)}
        rows["listeners"] = [{"user_id": user, "embedding": taste.tolist()} for user, taste in tastes.items()]
    else:
        tastes = dict.fromkeys((row["user_id"] for row in rows["plays"]), 0.0)
        for row in rows["plays"]:
            song = vectors[row["song_id"]].astype(float)
            tastes[row["user_id"]] = tastes[row["user_id"]] + np.log1p(row["plays"]) * song / np.linalg.norm(song)
    found = run(CONFIG, **rows)
    assert len(found.targets) == COLD * USERS
    for row in found.targets:
        expected = cosine(tastes[row["user_id"]], vectors[row["song_id"]].astype(float))
        assert row["score"] == pytest.approx(expected, abs=1e-5)

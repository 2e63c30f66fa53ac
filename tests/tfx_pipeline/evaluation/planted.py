"""Songs in groups whose embeddings say the group, so that the right order is known."""

import numpy as np

from tfx_pipeline.contract import SongField
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.models.song_table import SongTable

FIELDS = [SongField("attribute_noise", "category"), SongField("audio_x", "number")]
CONFIG = EvaluationConfig(truth=5, k=10, bootstrap=200)
WARM, COLD, GROUPS = 200, 40, 10


def planted() -> tuple[SongTable, np.ndarray]:
    """Returns songs and their embeddings. The truth of a cold song is the first warm songs of its group."""
    rng = np.random.default_rng(0)
    splits = np.array(["warm"] * WARM + ["val"] * COLD + ["test"] * COLD)
    group = np.concatenate([np.arange(WARM) % GROUPS, np.arange(2 * COLD) % GROUPS])
    ids = np.array([f"s{row:04d}" for row in range(len(splits))], dtype=bytes)
    truth = np.array([ids[:WARM][group[:WARM] == g][: CONFIG.truth] for g in group])
    truth[-3:] = b""  # three test songs without truth
    features = {
        "attribute_noise": rng.integers(0, 4, len(ids)).astype(np.int32),
        "audio_x": rng.normal(size=len(ids)).astype(np.float32),
    }
    songs = SongTable(ids, splits, features, np.ones(len(ids), int), truth, np.ones(truth.shape, np.float32))
    return songs, np.eye(GROUPS, dtype=np.float32)[group]

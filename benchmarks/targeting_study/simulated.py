"""The simulated catalogue as a data set, with the true chance of every play."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.targeting_study.datasets import DataSet, read_data_set

SONGS, USERS, PLAYS = 3_000, 1_500, 120_000


def simulated(seed: int, *, songs: int = SONGS, users: int = USERS, plays: int = PLAYS) -> tuple[DataSet, np.ndarray]:
    """Draws a catalogue.

    Returns:
        (data set, (songs, users) chance that the user plays the song at all).
    """
    # TensorFlow takes seconds to import; real data does not need it.
    from tfx_pipeline.datasets.simulate import TRUTH, simulate

    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside) / "simulated"
        simulate(folder, songs=songs, users=users, plays=plays, seed=seed)
        with np.load(folder / TRUTH) as truth:
            chance = _chance({name: truth[name] for name in truth.files})
        data = read_data_set(folder)
    # Row i of the truth is song or user i, and ids number them.
    song, user = (_numbers(ids) for ids in (data.songs, data.users))
    chance = chance[np.ix_(song, user)]
    activity = np.diff(data.plays.T.tocsr().indptr)
    return replace(data, name="simulated"), chance_to_play(chance, activity)


def chance_to_play(chance: np.ndarray, songs_played: np.ndarray, rounds: int = 50) -> np.ndarray:
    """Returns the chance that a user plays a song at all, (songs, users).

    The simulator draws until a user has played a number of different songs, so popular ones are drawn again and again.
    With t draws a song of chance p is among them with 1 - exp(-p t); t is such that these sum to the songs played.

    Args:
        chance: (songs, users) of one draw.
        songs_played: (users,) different songs.
        rounds: Steps of Newton's method.
    """
    draws = songs_played.astype(np.float64)
    for _ in range(rounds):  # The sum is concave in t and the start is below the root, so no step overshoots.
        left = np.exp(-chance * draws)
        draws += (songs_played - (1 - left).sum(axis=0)) / (chance * left).sum(axis=0)
    return np.asarray(1 - np.exp(-chance * draws))


def _numbers(ids: np.ndarray) -> np.ndarray:
    return np.array([int(item[1:]) for item in ids.tolist()])


def _chance(truth: dict[str, np.ndarray]) -> np.ndarray:
    """P(song | user) of one draw, (songs, users): sum over stations of P(station | user) P(song | station)."""
    settings = json.loads(str(truth["settings"]))
    station = _softmax(settings["user_focus"] * truth["user_taste"] @ truth["stations"].T)
    logits = settings["song_focus"] * truth["stations"] @ truth["song_taste"].T
    song = truth["song_weight"] * np.exp(logits - logits.max(axis=1, keepdims=True))
    song /= song.sum(axis=1, keepdims=True)
    return np.asarray((station @ song).T)


def _softmax(logits: np.ndarray) -> np.ndarray:
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))

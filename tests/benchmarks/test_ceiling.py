"""How much of the truth can be known: halves by hand, and brackets that hold the known law of simulated catalogues."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from benchmarks.quality import closed_form
from benchmarks.quality.ceiling import ceiling, halves, law, shared_once, split_half
from benchmarks.quality.metrics import as_truth, metrics_of
from benchmarks.quality.problem import Problem
from benchmarks.targeting_study.datasets import read_data_set
from tfx_pipeline.datasets.simulate import simulate


@pytest.fixture(scope="module", params=[(1_200, 700, 40_000), (1_500, 900, 16_000)], ids=["dense", "sparse"])
def problem(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Problem:
    songs, users, plays = request.param
    out = tmp_path_factory.mktemp("ceiling") / "catalogue"
    simulate(out, songs=songs, users=users, plays=plays, seed=6)
    return Problem.of(read_data_set(out), seed=0)


def test_halves_part_each_audience() -> None:
    rng = np.random.default_rng(0)
    audiences = sparse.random(50, 90, 0.2, format="csr", random_state=1, dtype=np.float32)
    audiences.data[:] = 1
    audiences[7] = 0  # a song of no listeners
    audiences.eliminate_zeros()
    first, second = halves(audiences, seed=3)
    assert ((first + second) != audiences).nnz == 0 and first.multiply(second).nnz == 0
    sizes = np.diff(first.indptr) - np.diff(second.indptr)
    assert set(sizes.tolist()) == {-1, 0, 1}  # as many, or one more, in either half
    again, other = halves(audiences, seed=3), halves(audiences, seed=int(rng.integers(10**6)))
    assert (again[0] != first).nnz == 0 and (other[0] != first).nnz > 0


def test_the_law_reads_between_the_ends_and_near_the_estimate(problem: Problem) -> None:
    test = problem.cold("test")
    scores = closed_form.true_taste(problem)(test, problem.encoding)
    truth = as_truth(problem.similar_truth(test), len(problem.warm), 20)
    reached = float(np.nanmean(metrics_of(scores, truth)["recall@50"]))
    found = ceiling(problem)
    assert found["lower"] - 0.02 < reached < found["upper"] + 0.02
    assert reached == pytest.approx(found["estimate"], abs=0.1)
    assert found["split half"] == pytest.approx(np.nanmean(split_half(problem, test, 11)[0]), abs=0.04)
    assert sum(part["songs"] for part in found["slices"].values()) == len(test)


def test_random_audiences_say_nothing_of_each_other(problem: Problem) -> None:
    rng = np.random.default_rng(4)
    columns = rng.random((40, problem.plays.shape[1])).argsort(axis=1)[:, :30]
    plays = sparse.csr_matrix(
        (np.ones(columns.size, np.float32), (np.repeat(np.arange(40), 30), columns.ravel())),
        shape=(40, problem.plays.shape[1]),
    )
    planted = problem.data.plays.tolil()
    songs = problem.cold("test")[:40]
    planted[songs] = plays
    changed = Problem(
        type(problem.data)(**{**vars(problem.data), "plays": planted.tocsr()}), 0, problem.split, problem.encoding
    )
    assert np.nanmean(split_half(changed, songs, 0)[0]) < 0.5 * ceiling(problem)["split half"]
    assert law(0.0) == 0.0 and law(1.0) == 1.0


def test_songs_that_share_one_listener_are_counted(problem: Problem) -> None:
    songs = problem.cold("test")[:30]
    heard = np.asarray(problem.heard(songs).todense()) > 0
    warm = np.asarray(problem.plays.todense()) > 0
    common = [
        int((heard[row] & warm[place]).sum())
        for row, places in enumerate(problem.similar_truth(songs)[:, :20])
        for place in places
        if place >= 0
    ]
    assert shared_once(problem, songs) == pytest.approx(np.mean(np.array(common) == 1))

"""The grouping's frequencies against their laws."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from keras import ops
from scipy import stats

from bcl_keras.layers import CorrelationGrouping
from bcl_keras.ops import group_fields

FIELDS, SIZE, DRAWS = 5, 3, 6000


def correlation() -> np.ndarray:
    half = np.triu(np.random.default_rng(0).random((FIELDS, FIELDS)), 1)
    return (half + half.T + np.eye(FIELDS)).astype("float32")


def drawn(strategy: Any) -> Counter[tuple[int, ...]]:
    layer = CorrelationGrouping(FIELDS, SIZE, strategy=strategy, seed=7)
    groups = ops.convert_to_numpy(layer(ops.convert_to_tensor(correlation()), num_draws=DRAWS))
    return Counter(tuple(np.flatnonzero(group)) for group in groups)


def assert_follows(found: Counter[tuple[int, ...]], law: dict[tuple[int, ...], float]) -> None:
    groups = list(itertools.combinations(range(FIELDS), SIZE))
    assert set(found) <= set(groups) and sum(law.values()) == pytest.approx(1.0, abs=1e-4)
    expected = np.array([law.get(group, 0.0) for group in groups])
    observed = np.array([found[group] for group in groups])
    assert observed[expected == 0].sum() == 0
    possible = expected > 0
    assert stats.chisquare(observed[possible], DRAWS * expected[possible] / expected[possible].sum()).pvalue > 1e-3


def plackett_luce_law() -> dict[tuple[int, ...], float]:
    """Sum the probability of every order of the other fields after each seed."""
    tfp = pytest.importorskip("tensorflow_probability")
    law: dict[tuple[int, ...], float] = defaultdict(float)
    for seed in range(FIELDS):
        others = [field for field in range(FIELDS) if field != seed]
        orders = list(itertools.permutations(range(len(others))))
        scores = correlation()[seed, others]
        probabilities = np.exp(tfp.distributions.PlackettLuce(scores).log_prob(np.array(orders, "int32")).numpy())
        for order, probability in zip(orders, probabilities, strict=True):
            group = tuple(sorted([seed, *(others[place] for place in order[: SIZE - 1])]))
            law[group] += float(probability) / FIELDS
    return dict(law)


def test_gumbel_draws_follow_plackett_luce() -> None:
    assert_follows(drawn("gumbel"), plackett_luce_law())


def test_uniform_draws_make_every_group_alike() -> None:
    groups = list(itertools.combinations(range(FIELDS), SIZE))
    assert_follows(drawn("uniform"), {group: 1 / len(groups) for group in groups})


def test_top_takes_the_most_correlated_fields_of_a_uniform_seed() -> None:
    law: dict[tuple[int, ...], float] = defaultdict(float)
    for seed in range(FIELDS):
        others = sorted((field for field in range(FIELDS) if field != seed), key=lambda f: -correlation()[seed, f])
        law[tuple(sorted([seed, *others[: SIZE - 1]]))] += 1 / FIELDS
    assert_follows(drawn("top"), dict(law))


def test_group_fields_adds_noise_to_log_correlations() -> None:
    rng = np.random.default_rng(1)
    seeds, noise = rng.integers(0, FIELDS, 50), rng.gumbel(size=(50, FIELDS)).astype("float32")
    result = ops.convert_to_numpy(
        group_fields(
            ops.convert_to_tensor(correlation()), ops.convert_to_tensor(seeds), ops.convert_to_tensor(noise), SIZE
        )
    )
    for row, seed in enumerate(seeds):
        scores = np.log(correlation()[seed]) + noise[row]
        scores[seed] = np.inf
        assert set(np.flatnonzero(result[row])) == set(np.argsort(-scores)[:SIZE])


def test_equal_correlations_are_taken_by_position() -> None:
    result = group_fields(ops.ones((4, 4)), ops.convert_to_tensor([2]), ops.zeros((1, 4)), 3)
    np.testing.assert_array_equal(ops.convert_to_numpy(result), [[True, True, True, False]])


def test_zero_correlations_still_fill_the_group() -> None:
    layer = CorrelationGrouping(6, seed=1)
    groups = ops.convert_to_numpy(layer(ops.eye(6), num_draws=200))
    assert (groups.sum(axis=1) == 3).all()


def test_half_of_the_fields_by_default() -> None:
    assert CorrelationGrouping(7).group_size == 3
    assert ops.convert_to_numpy(CorrelationGrouping(7, seed=0)(ops.ones((7, 7)))).sum() == 3


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_fields": 1}, "`num_fields` must be at least 2. Received: 1"),
        ({"num_fields": 4, "group_size": 4}, r"`group_size` must be in 1 .. 3. Received: 4"),
        ({"num_fields": 4, "group_size": 0}, r"`group_size` must be in 1 .. 3. Received: 0"),
        ({"num_fields": 4, "strategy": "best"}, "`strategy` must be one of .* Received: 'best'"),
    ],
)
def test_error_messages(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorrelationGrouping(**kwargs)

"""The same draws from every release of TensorFlow Probability that the project runs with.

A joint law, a Dirichlet law and a negative binomial law mix a word of their own, a salt, into the seed that they are
given: seed XOR hash. Releases before 0.25 take 64 bits of the hash, later ones the hash modulo 2^31 - 1. `unsalted`
undoes the difference beforehand. All other draws are the same.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

tfd: Any = tfp.distributions
_RELEASE = tuple(int(part) for part in tfp.__version__.split(".")[:2])


def joint_seed(first: int, second: int) -> Any:
    """Returns the seed of a joint law's `sample`."""
    return unsalted(tf.constant([first, second], tf.int32), "JointDistribution")


def unsalted(seed: Any, salt: str) -> Any:
    """Returns the seed from which this release, with its salt, draws what releases before 0.25 draw from `seed`."""
    if _RELEASE < (0, 25):
        return seed
    digest = int(hashlib.sha512(salt.encode()).hexdigest(), 16)
    difference = (digest & (2**64 - 1)) ^ (digest % (2**31 - 1))
    return tf.bitwise.bitwise_xor(seed, np.array([difference], np.uint64).view(np.int32))


class Dirichlet(tfd.Dirichlet):
    """A Dirichlet law that draws the same with every release."""

    def _sample_n(self, n: Any, seed: Any = None) -> Any:
        return super()._sample_n(n, unsalted(seed, "random_gamma"))


class NegativeBinomial(tfd.NegativeBinomial):
    """A negative binomial law that draws the same with every release."""

    def _sample_n(self, n: Any, seed: Any = None) -> Any:
        return super()._sample_n(n, unsalted(seed, "NegativeBinomial"))

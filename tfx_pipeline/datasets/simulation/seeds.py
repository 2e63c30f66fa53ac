"""Seeds from which every release of TensorFlow Probability draws the same numbers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability.python.internal import samplers


def seed_of(first: int, second: int) -> Any:
    """Return a seed for `sample`.

    Release 0.25 splits a seed among the parts of a joint law in another way than the releases before it. It keeps the
    earlier way for seeds that ask for it, by a function that has no public name.
    """
    seed = tf.constant([first, second], tf.int32)
    keep_earlier_way = getattr(samplers, "enable_old_salt_for_seed", None)
    return seed if keep_earlier_way is None else keep_earlier_way(seed, True)

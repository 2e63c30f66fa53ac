"""Two logical CPU devices, for the test of replicas; they must be made before TensorFlow's first operation."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    devices = tf.config.list_physical_devices("CPU")
    # If TensorFlow is in use already, the test of replicas is skipped and says so.
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Make initial weights the same in every run."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def two_replicas() -> Any:
    """Give the process's only MirroredStrategy.

    Every MirroredStrategy counts its collective operations from the same key, and the process's executor remembers
    the shape that each key had: a second strategy's operations would be taken for the first one's.
    """
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow" or len(tf.config.list_logical_devices("CPU")) < 2:
        pytest.skip("needs the TensorFlow backend with two logical CPU devices")
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

"""Two logical CPU devices, for the test of replicas; they must be made before TensorFlow's first operation."""

from __future__ import annotations

import keras
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    devices = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    except RuntimeError:
        pass  # TensorFlow is in use already: the test says that it is skipped


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Make initial weights the same in every run."""
    keras.utils.set_random_seed(0)

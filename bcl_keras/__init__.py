"""Bootstrapping contrastive learning for music cold-start matching, in Keras 3 on any backend.

The library imports Keras and numpy alone. Its rooms are `config`, `layers`, `losses`, `metrics`, `ops`, `content`,
`closed_form`, `evaluation`, `models` and `callbacks`; `data` feeds training.

Source: Zhao et al., "Bootstrapping Contrastive Learning Enhanced Music Cold-Start Matching", WWW'23 Companion.
"""

from bcl_keras import callbacks, data, layers, losses, metrics, models, ops
from bcl_keras.config import BCLConfig, RidgeConfig
from bcl_keras.fields import Field

#: The version in pyproject.toml; a test holds both equal.
__version__ = "0.1.0"

__all__ = [
    "BCLConfig",
    "Field",
    "RidgeConfig",
    "callbacks",
    "data",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
]

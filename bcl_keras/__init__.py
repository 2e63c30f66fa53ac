"""Bootstrapping contrastive learning for music cold-start matching, in Keras 3 on any backend.

Source: Zhao et al., "Bootstrapping Contrastive Learning Enhanced Music Cold-Start Matching", WWW'23 Companion.
"""

from bcl_keras import callbacks, data, layers, losses, metrics, models, ops
from bcl_keras.config import BCLConfig
from bcl_keras.fields import Field

__all__ = ["BCLConfig", "Field", "callbacks", "data", "layers", "losses", "metrics", "models", "ops"]

"""The pure functions of the method, on tensors.

The room imports Keras alone. Layers, losses and models import it.
"""

from bcl_keras.ops.correlation import distance_correlation
from bcl_keras.ops.grouping import group_fields
from bcl_keras.ops.numerics import l2_normalize

__all__ = ["distance_correlation", "group_fields", "l2_normalize"]

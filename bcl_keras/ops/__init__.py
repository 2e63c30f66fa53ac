"""The pure functions of the method, on tensors.

Imports: nothing of this project.
Imported by: bcl_keras, layers, losses, models.
"""

from bcl_keras.ops.correlation import distance_correlation
from bcl_keras.ops.grouping import group_fields
from bcl_keras.ops.numerics import l2_normalize

__all__ = ["distance_correlation", "group_fields", "l2_normalize"]

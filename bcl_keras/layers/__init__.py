"""The Keras layers of the method.

Imports: checks, config, content, distribution, fields, ops.
Imported by: bcl_keras, models.
"""

from bcl_keras.layers.content_vector import ContentVector
from bcl_keras.layers.correlation_grouping import CorrelationGrouping
from bcl_keras.layers.feature_correlation import FeatureCorrelation
from bcl_keras.layers.feature_table import FeatureTable
from bcl_keras.layers.field_encoder import FieldEncoder
from bcl_keras.layers.operators import FieldDropout, RandomMask, SpanMask, UniformNoise
from bcl_keras.layers.views import CorruptViews, SplitViews

__all__ = [
    "ContentVector",
    "CorrelationGrouping",
    "CorruptViews",
    "FeatureCorrelation",
    "FeatureTable",
    "FieldDropout",
    "FieldEncoder",
    "RandomMask",
    "SpanMask",
    "SplitViews",
    "UniformNoise",
]

"""What content says about songs, in numpy: weights of ids, and main directions that rounding does not change.

Imports: blocks, evaluation, fields.
Imported by: closed_form, layers, models.
"""

from bcl_keras.content.directions import fading, orthonormal, turn_to_draws
from bcl_keras.content.words import WordMatrix

__all__ = ["WordMatrix", "fading", "orthonormal", "turn_to_draws"]

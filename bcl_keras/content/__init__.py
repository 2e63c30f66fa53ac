"""What content says about songs, in numpy: weights of ids, and main directions that rounding does not change.

The room imports `bcl_keras.evaluation`, fields and blocks. The layer `ContentVector` and the closed form import it.
"""

from bcl_keras.content.directions import fading, orthonormal, turn_to_draws
from bcl_keras.content.words import WordMatrix

__all__ = ["WordMatrix", "fading", "orthonormal", "turn_to_draws"]

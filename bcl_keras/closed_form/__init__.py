"""Least squares from content to audiences, in numpy: what `AudienceRidge` solves.

Imports: blocks, config, content, evaluation, fields.
Imported by: models.
"""

from bcl_keras.closed_form.audiences import AudienceSimilarity, AudienceTargets
from bcl_keras.closed_form.nystroem import Nystroem
from bcl_keras.closed_form.prediction import drawn_directions, prediction_basis
from bcl_keras.closed_form.solution import Solution, solve

__all__ = [
    "AudienceSimilarity",
    "AudienceTargets",
    "Nystroem",
    "Solution",
    "drawn_directions",
    "prediction_basis",
    "solve",
]

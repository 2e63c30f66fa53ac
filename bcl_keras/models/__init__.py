"""The models: both towers and their training, the closed form, content alone, models joined, and candidates evened.

Imports: blocks, checks, closed_form, config, content, data, distribution, evaluation, fields, layers, losses, ops.
Imported by: bcl_keras.
"""

from bcl_keras.config import RidgeConfig
from bcl_keras.models.audience_ridge import AudienceRidge
from bcl_keras.models.bcl_model import BCLModel
from bcl_keras.models.candidate_tower import CandidateTower
from bcl_keras.models.content_sketch import ContentSketch
from bcl_keras.models.evened_model import EvenedModel
from bcl_keras.models.joined_model import JoinedModel
from bcl_keras.models.joining import join_if_better
from bcl_keras.models.song_model import SongModel
from bcl_keras.models.song_tower import SongTower

__all__ = [
    "AudienceRidge",
    "BCLModel",
    "CandidateTower",
    "ContentSketch",
    "EvenedModel",
    "JoinedModel",
    "RidgeConfig",
    "SongModel",
    "SongTower",
    "join_if_better",
]

"""The models: both towers and their training, the closed form, and the two joined.

The room imports all others but `bcl_keras.callbacks` and `bcl_keras.metrics`. The pipeline imports it.
"""

from bcl_keras.config import RidgeConfig
from bcl_keras.models.audience_ridge import AudienceRidge
from bcl_keras.models.bcl_model import BCLModel
from bcl_keras.models.candidate_tower import CandidateTower
from bcl_keras.models.joined_model import JoinedModel
from bcl_keras.models.song_model import SongModel
from bcl_keras.models.song_tower import SongTower

__all__ = ["AudienceRidge", "BCLModel", "CandidateTower", "JoinedModel", "RidgeConfig", "SongModel", "SongTower"]

"""Towers and the model that trains them."""

from bcl_keras.models.bcl_model import BCLModel
from bcl_keras.models.candidate_tower import CandidateTower
from bcl_keras.models.song_tower import SongTower

__all__ = ["BCLModel", "CandidateTower", "SongTower"]

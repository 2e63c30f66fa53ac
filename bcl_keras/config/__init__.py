"""The settings of the method, each model's in one frozen dataclass.

Imports: nothing of this project.
Imported by: bcl_keras, closed_form, data, layers, losses, models.
"""

from bcl_keras.config.closed_form import RidgeConfig
from bcl_keras.config.towers import BCLConfig, CorrelationMode, Grouping, as_config

__all__ = ["BCLConfig", "CorrelationMode", "Grouping", "RidgeConfig", "as_config"]

"""The settings of the method, each model's in one frozen dataclass.

The room imports the standard library alone. Losses, layers, the closed form and models import it.
"""

from bcl_keras.config.closed_form import RidgeConfig
from bcl_keras.config.towers import BCLConfig, CorrelationMode, Grouping, as_config

__all__ = ["BCLConfig", "CorrelationMode", "Grouping", "RidgeConfig", "as_config"]

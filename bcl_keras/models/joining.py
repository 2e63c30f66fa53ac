"""Models joined to one, without a part that validation songs give no weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bcl_keras.models.joined_model import JoinedModel
from bcl_keras.models.song_model import SongModel


def join_if_better(
    models: Sequence[SongModel], further: SongModel, validation: tuple[Mapping[str, Any], Any], k: int = 50
) -> tuple[JoinedModel, dict[str, Any]]:
    """Return models joined, with a further one if validation songs give it a weight, and what was chosen.

    An embedding then has no numbers that count for nothing.

    Args:
        models: The models that are joined whatever their weights.
        further: The model that may be left out. It is left out if no validation song has a positive.
        validation: As for `JoinedModel.adapt`.
        k: Length of the list judged. Defaults to 50.

    Returns:
        The joined model, and what `JoinedModel.adapt` returns. `weights` has no weight of a model that is left out;
        its recall stays in `alone`.
    """
    joined = JoinedModel([*models, further])
    report = joined.adapt(validation, k)
    if report["validation_recall"] is not None and report["weights"][-1]:
        return joined, report
    joined = JoinedModel(models)
    joined.adapt(weights=report["weights"][:-1])
    return joined, report | {"weights": report["weights"][:-1]}

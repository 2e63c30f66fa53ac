"""The losses of both tasks, from the settings or from what `compile` is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bcl_keras.config import BCLConfig
from bcl_keras.losses.classes import BPR, InfoNCE, PairLoss, SampledSoftmax
from bcl_keras.losses.embedding_loss import EmbeddingLoss

TASKS = ("supervised", "contrastive")


@dataclass(frozen=True)
class TaskLosses:
    """The losses that a model trains with, one per task."""

    supervised: PairLoss
    contrastive: EmbeddingLoss


def task_losses(loss: Any, config: BCLConfig) -> TaskLosses:
    """Return the losses of both tasks.

    Args:
        loss: The supervised loss, as an object or by its name in the settings; or a dict of losses by task,
            `"supervised"` and `"contrastive"`. What is not given, and `None`, comes from the settings.
        config: The settings.

    Raises:
        ValueError: If a task is unknown, or its loss is not one for it.
    """
    given = dict(loss) if isinstance(loss, Mapping) else {"supervised": loss}
    if unknown := sorted(set(given) - set(TASKS)):
        raise ValueError(f"Argument `loss` must have no keys but {list(TASKS)}. Received: {unknown}")
    supervised, contrastive = (given.get(task) for task in TASKS)
    if supervised is None or isinstance(supervised, str):
        supervised = _supervised(supervised or config.supervised_loss, config)
    if contrastive is None:
        contrastive = InfoNCE(config.contrast_temperature)
    if not isinstance(supervised, PairLoss):
        raise ValueError(f"Argument `loss` must be a `PairLoss` such as `BPR`. Received: {supervised!r}")
    if not isinstance(contrastive, EmbeddingLoss) or isinstance(contrastive, PairLoss):
        raise ValueError(
            f"Argument `loss` must have a loss of two views such as `InfoNCE` for 'contrastive'. "
            f"Received: {contrastive!r}"
        )
    return TaskLosses(supervised, contrastive)


def _supervised(name: str, config: BCLConfig) -> PairLoss:
    shared: dict[str, Any] = {
        "temperature": config.temperature,
        "mask_accidental_hits": config.mask_accidental_hits,
        "correct_log_q": config.correct_log_q,
    }
    if name == "bpr":
        return BPR(margin=config.margin, hardness=config.negative_hardness, **shared)
    if name == "sampled_softmax":
        return SampledSoftmax(**shared)
    raise ValueError(f"Argument `loss` must be 'bpr', 'sampled_softmax' or a loss object. Received: {name!r}")

"""The stage that finds target listeners for new songs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx_pipeline.contract.splits import TEST, VALIDATION
from tfx_pipeline.runtime.fingerprint import file_digest
from tfx_pipeline.targeting.component import AudienceTargeter, WeightChooser
from tfx_pipeline.targeting.config import TargetingConfig


@dataclass(frozen=True)
class ListenerFiles:
    """Parquet files of listeners that a runner binds.

    Attributes:
        vectors: Listener vectors that take the place of those formed from plays. None if there are none.
        exclusions: Listeners who must not be targeted. None if there are none.
    """

    vectors: Path | str | None
    exclusions: Path | str | None

    def parameters(self) -> dict[str, str]:
        """Returns the parameters of the components that name the files and their contents."""
        files = (self.vectors, self.exclusions)
        return {
            "listeners": str(self.vectors or ""),
            "exclusions": str(self.exclusions or ""),
            "digests": " ".join(file_digest(file) for file in files if file),
        }


@dataclass(frozen=True)
class Targeted:
    """The steps that find target listeners.

    Attributes:
        embedder: Gives the embeddings and matches that they are found by.
        chooser: Chooses the weight of the count. None where the targeter does so itself, or none is to be chosen.
        targeter: Gives the targets.
    """

    embedder: Any
    chooser: Any
    targeter: Any

    @property
    def steps(self) -> list[Any]:
        """All steps that are not part of an earlier stage, in their order."""
        return [step for step in (self.chooser, self.targeter) if step is not None]


def targeted_listeners(
    plays: Any, judged: Any, served: Any, pusher: Any, serving_dir: str, files: ListenerFiles, config: TargetingConfig
) -> Targeted:
    """Returns the steps that find target listeners, if the model is pushed.

    Held-out songs are new to the judged model alone. So their targets, and the weight of the count, come from the
    matches of the judged model.

    Args:
        plays: Channel of the plays.
        judged: Gives the embeddings by the judged model.
        served: Gives the embeddings by the served model.
        pusher: Says whether the model is pushed.
        serving_dir: Folder of the model's versions.
        files: Files of listeners.
        config: How listeners are scored and chosen.
    """
    asks_for_held_out = not {VALIDATION, TEST}.isdisjoint(config.target_splits)
    embedder = judged if asks_for_held_out else served
    told = {"plays": plays, "settings": config, **files.parameters()}
    chooser = None
    if embedder is not judged and config.chooses_weight:
        chooser = WeightChooser(embeddings=judged.outputs["embeddings"], **told)
    targeter = AudienceTargeter(
        embeddings=embedder.outputs["embeddings"],
        pushed_model=pusher.outputs["pushed_model"],
        serving_dir=serving_dir,
        count_weight=None if chooser is None else chooser.outputs["count_weight"],
        **told,
    )
    return Targeted(embedder, chooser, targeter)

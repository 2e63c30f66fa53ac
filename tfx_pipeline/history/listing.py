"""The list of runs: the outcome of each, its model, and which model is served."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace

from serving.savedmodel.publish import PublishError, latest_version
from tfx_pipeline.history.run_history import RecordedRun, pushes, read_runs
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.history.served_copies import origin_of, pushed_as, served_again_by
from tfx_pipeline.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Listing:
    """The runs of a folder.

    Attributes:
        runs: The runs, oldest first. A run whose model is served again has the number of the copy.
        run_of_served: Id of the run whose model is served; None if there is none.
        served: Number of the served version; None if no model is served.
        copy_of: Number of the version that the served one is a copy of, or its own.
    """

    runs: list[RecordedRun]
    run_of_served: str | None
    served: int | None
    copy_of: int | None

    @classmethod
    def read(cls, folder: RunFolder) -> Listing:
        """Reads the record of the runs and the served folder.

        Raises:
            ValueError: If there is no record.
        """
        recorded = read_runs(RunRecords.of(folder))
        again = served_again_by(folder.serving)
        runs = [
            replace(run, outcome="pushed", version=str(again[run.run_id])) if run.run_id in again else run
            for run in recorded
        ]
        served = _served(folder)
        if served is None:
            return cls(runs, None, None, None)
        return cls(runs, _run_of(runs, folder, served), served, origin_of(folder.serving, served))

    def as_json(self) -> str:
        """Returns one JSON object per line."""
        return "".join(json.dumps(self._as_dict(run)) + "\n" for run in self.runs)

    def as_table(self) -> str:
        """Returns a line for each run, and one about the served model."""
        lines = [f"{'run':<28}{'outcome':<11}{'version':<21}recall"]
        for run in self.runs:
            recall = "" if run.recall is None else f"{run.recall[1]:.3f} ({run.recall[0]})"
            version = run.version + (" *" if run.run_id == self.run_of_served else "")
            lines.append(f"{run.run_id:<28}{run.outcome:<11}{version:<21}{recall}".rstrip())
        if self.served is None:
            lines.append("No model is served.")
        else:
            copied = f", a copy of {self.copy_of}" if self.served != self.copy_of else ""
            lines.append(f"Served: version {self.served}{copied}")
        return "".join(f"{line}\n" for line in lines)

    def _as_dict(self, run: RecordedRun) -> dict[str, object]:
        return {
            "run_id": run.run_id,
            "outcome": run.outcome,
            "model_version": run.version or None,
            "recall": None if run.recall is None else {run.recall[0]: run.recall[1]},
            "served": run.run_id == self.run_of_served,
        }


def _run_of(runs: list[RecordedRun], folder: RunFolder, served: int) -> str | None:
    """Returns the run that pushed the served version, or the version that it is a copy or a refresh of."""
    push = pushed_as(folder.serving, served, pushes(runs))
    pushers = [run.run_id for run in runs if run.outcome != "unchanged" and run.version == str(push)]
    return pushers[0] if pushers else None


def _served(folder: RunFolder) -> int | None:
    with suppress(PublishError):
        return latest_version(str(folder.serving))[0]
    return None

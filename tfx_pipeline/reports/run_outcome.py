"""The outcome of a run, as one line of JSON for the scheduler that started it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serving.savedmodel.publish import PublishError, latest_version
from tfx_pipeline.runtime.run_folder import RunFolder

#: By outcome. `unchanged`: nothing new came in, and what is served stays.
EXIT_CODES = {"pushed": 0, "unchanged": 0, "checked": 0, "failed": 1, "bad input": 2, "refused": 3}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        outcome: One of `EXIT_CODES`.
        run_id: Name of the run, when the pipeline began; None if it did not begin.
        model_version: Number of the model that the run pushed, now or, if unchanged, earlier. Where the model of an
            earlier run is served again, the number of that copy.
        recall: Recall of the model on test songs, by the name of the metric; empty where it was not judged.
        reasons: Why it was refused, failed or is bad input.
        paths: Paths of files and folders, by name.
    """

    outcome: str
    run_id: str | None = None
    model_version: str | None = None
    recall: dict[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    paths: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return EXIT_CODES[self.outcome]

    def line(self, folder: RunFolder, seconds: float, pruned: dict[str, Any] | None) -> str:
        """Returns the line, with the version that is served when the run has ended and how long it took."""
        content = {
            "run_id": self.run_id,
            "outcome": self.outcome,
            "model_version": self.model_version,
            "served_version": _served(folder),
            "recall": self.recall,
            "reasons": list(self.reasons),
            "seconds": round(seconds, 1),
            "pruned": pruned,
            "paths": {"run": str(folder.home), **self.paths},
        }
        return json.dumps(content) + "\n"


def of_finished(folder: RunFolder) -> Outcome:
    """Returns the outcome of the run that has just ended."""
    from tfx_pipeline.history.run_history import recall_of
    from tfx_pipeline.history.run_record import RunRecord
    from tfx_pipeline.history.run_records import RunRecords
    from tfx_pipeline.reports.demo_report import DemoReport

    found = of_record(folder)
    report = DemoReport.read(RunRecord.latest(RunRecords.of(folder)), folder)
    recall = recall_of(report.evaluation)
    paths = {"page": report.page, "targets": report.targets, "log": folder.log}
    if report.served is not None:
        paths["model"] = report.served
    if (latest := folder.home / "latest").exists():
        paths["latest"] = latest
    return replace(
        found,
        recall={} if recall is None else dict([recall]),
        reasons=found.reasons if report.served else tuple(report.refused_because()),
        paths={name: str(path) for name, path in paths.items()},
    )


def of_record(folder: RunFolder) -> Outcome:
    """Returns the outcome of the last run and its version, by ML Metadata and the served folder."""
    from tfx_pipeline.history.run_history import read_runs
    from tfx_pipeline.history.run_records import RunRecords
    from tfx_pipeline.history.served_again import standing
    from tfx_pipeline.history.served_copies import served_again_by

    runs = read_runs(RunRecords.of(folder))
    last, again, stands = runs[-1], served_again_by(folder.serving), standing(folder.serving, runs)
    if last.run_id in again:
        return Outcome("pushed", last.run_id, str(again[last.run_id]))
    reasons = (stands.why_rolled_back(),) if stands is not None and stands.is_rolled_back else ()
    return Outcome(last.outcome, last.run_id, last.version or None, reasons=reasons)


def of_data_gate(folder: RunFolder, error: Exception) -> Outcome:
    """Returns the outcome of a run that the data gate stopped."""
    reasons = [line for line in str(error).splitlines() if line.startswith("stops the run")]
    report = Path(f"{folder.kept_statistics}_report.txt")
    paths = {"data_report": str(report), "log": str(folder.log)}
    return Outcome("refused", _last_run(folder).run_id, reasons=tuple(reasons or [str(error)]), paths=paths)


def of_stopped(folder: RunFolder, reason: str, exit_code: int) -> Outcome:
    """Returns the outcome of a run that stopped early."""
    outcome = "bad input" if exit_code == EXIT_CODES["bad input"] else "failed"
    paths = {"log": str(folder.log)} if folder.log.exists() else {}
    return Outcome(outcome, reasons=(reason,), paths=paths)


def _last_run(folder: RunFolder) -> Any:
    from tfx_pipeline.history.run_history import read_runs
    from tfx_pipeline.history.run_records import RunRecords

    return read_runs(RunRecords.of(folder))[-1]


def _served(folder: RunFolder) -> str | None:
    with suppress(PublishError, OSError):
        return str(latest_version(str(folder.serving))[0])
    return None

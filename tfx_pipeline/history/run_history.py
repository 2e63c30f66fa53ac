"""All runs of a pipeline, read from ML Metadata without TFX, which takes half a minute to load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from tfx_pipeline.history.run_records import RunRecords

_State = metadata_store_pb2.Execution
#: The report of `evaluation.component`.
_REPORT = "report.json"


@dataclass(frozen=True)
class RecordedRun:
    """One run, ended or not.

    Attributes:
        run_id: Name of the run: the time of its start.
        executions: Ids of its executions, also of those from the cache.
        artifacts: Artifacts that they read or wrote, by id.
        outcome: `pushed`, `unchanged` (the model of an earlier run), `refused` (by a gate) or `failed` (or stopped).
        version: Number of the pushed model; "" if none was.
        recall: Name and value of the model's recall on test songs; None where it was not judged, or its report was
            pruned.
    """

    run_id: str
    executions: frozenset[int]
    artifacts: dict[int, metadata_store_pb2.Artifact]
    outcome: str
    version: str = ""
    recall: tuple[str, float] | None = None


def read_runs(records: RunRecords) -> list[RecordedRun]:
    """Returns the runs, oldest first.

    Raises:
        ValueError: If there is no record, or it cannot be read.
    """
    store = records.open(read_only=True)
    contexts = sorted(filter(records.is_own, _of_type(store, "pipeline_run")), key=lambda context: context.id)
    runs: list[RecordedRun] = []
    known: set[int] = set()
    for context in contexts:
        run = _read(store, context, known)
        runs.append(run)
        known |= run.artifacts.keys()
    return runs


def of_type(run: RecordedRun, name: str) -> list[metadata_store_pb2.Artifact]:
    """Returns the artifacts of a type, such as `PushedModel`, oldest first."""
    return [artifact for _, artifact in sorted(run.artifacts.items()) if artifact.type == name]


def pushes(runs: Sequence[RecordedRun]) -> frozenset[int]:
    """Returns the numbers under which runs pushed models."""
    return frozenset(int(run.version) for run in runs if run.outcome != "unchanged" and run.version.isdecimal())


def output_of(root: Path, run: RecordedRun, component: str, output: str) -> Path | None:
    """Returns the folder of an output, as it lies below `root` now; None where the run has none."""
    places = [place for artifact in run.artifacts.values() if (place := place_of(artifact))[:2] == (component, output)]
    return root.joinpath(*places[-1]) if places else None


def place_of(artifact: metadata_store_pb2.Artifact) -> tuple[str, ...]:
    """Returns component, output and number of an artifact's folder, which hold wherever the run's folder lies now."""
    return Path(artifact.uri).parts[-3:]


def _of_type(store: metadata_store.MetadataStore, name: str) -> Sequence[Any]:
    return store.get_contexts_by_type(name)


def _read(store: metadata_store.MetadataStore, context: Any, known: set[int]) -> RecordedRun:
    executions = store.get_executions_by_context(context.id)
    ids = [execution.id for execution in executions]
    events = store.get_events_by_execution_ids(ids) if ids else []
    found = store.get_artifacts_by_id(sorted({event.artifact_id for event in events})) if events else []
    run = RecordedRun(context.name, frozenset(ids), {artifact.id: artifact for artifact in found}, "failed")
    pushed = of_type(run, "PushedModel")
    if not pushed:
        gate_failed = any(e.type.endswith(".DataGate") and e.last_known_state == _State.FAILED for e in executions)
        return _with(run, outcome="refused" if gate_failed else "failed")
    last = pushed[-1]
    version = (
        last.custom_properties["pushed_version"].string_value if "pushed_version" in last.custom_properties else ""
    )
    is_pushed = bool(version and last.custom_properties["pushed"].int_value)
    outcome = ("unchanged" if last.id in known else "pushed") if is_pushed else "refused"
    if any(e.last_known_state in (_State.FAILED, _State.RUNNING, _State.NEW) for e in executions):
        outcome = "failed"
    return _with(run, outcome=outcome, version=version if is_pushed else "", recall=_recall(run))


def _with(run: RecordedRun, **changes: Any) -> RecordedRun:
    return RecordedRun(**{**vars(run), **changes})


def _recall(run: RecordedRun) -> tuple[str, float] | None:
    for evaluation in of_type(run, "ModelEvaluation")[-1:]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            report = json.loads((Path(evaluation.uri) / _REPORT).read_text(encoding="utf-8"))
            return recall_of(report)
    return None


def recall_of(report: dict[str, Any]) -> tuple[str, float] | None:
    """Returns name and mean of the model's recall for test songs, from the evaluation's report; None without them."""
    if "test" not in report:
        return None
    name = f"recall@{report['settings']['k']}"
    return name, float(report["test"]["rows"]["model"][name]["mean"])

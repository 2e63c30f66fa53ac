"""One run in detail: its steps, what each gate decided, its recall beside that of baselines, and its settings."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from tfx_pipeline.history.listing import Listing
from tfx_pipeline.history.run_history import RecordedRun, place_of
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.runtime.run_folder import RunFolder

_State = metadata_store_pb2.Execution
_STATES = {_State.COMPLETE: "ran", _State.CACHED: "from cache", _State.FAILED: "failed", _State.CANCELED: "stopped"}
#: Steps that decide whether a run goes on, or whether its model is pushed, in the order of a run.
_DATA_GATE, _EVALUATOR = "DataGate", "RetrievalEvaluator"
_GATES = (_DATA_GATE, _EVALUATOR, "ServedModelChecker", "ServingValidator")
_REPORT, _SERVING_PROBLEM = "report.json", "INFRA_NOT_BLESSED"


@dataclass(frozen=True)
class Gate:
    """What a gate decided.

    Attributes:
        decision: `passed` or `refused`.
        reasons: Why it refused, as far as its files are kept.
    """

    decision: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A step of a run.

    Attributes:
        name: Name of the component.
        state: `ran`, `from cache`, `failed`, or `stopped` where it never ended.
        seconds: How long it took; None where it did not end, or its result came from the cache.
    """

    name: str
    state: str
    seconds: float | None


@dataclass(frozen=True)
class RunDetails:
    """A run in detail.

    Attributes:
        run: The run.
        is_served: Whether its model is served.
        steps: Its steps in their order.
        gates: Decisions by gate, of those that were reached.
        recall: By split and by row (`model` and each baseline): the mean and, where there is one, its interval.
        measure: Name of what `recall` holds, such as `recall@50`; "" where the model was not judged.
        published: What the run published, from its manifest: settings, counts and the code's version.
    """

    run: RecordedRun
    is_served: bool
    steps: tuple[Step, ...]
    gates: dict[str, Gate]
    recall: dict[str, dict[str, dict[str, float]]]
    measure: str = ""
    published: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: RunFolder, listing: Listing, run: RecordedRun) -> RunDetails:
        """Reads the details of one of the listed runs.

        Raises:
            ValueError: If the record of the runs cannot be read.
        """
        records = RunRecords.of(folder)
        steps, report = _steps(records, run), _evaluation(records.pipeline_root, run)
        measure = f"recall@{report['settings']['k']}" if report else ""
        recall: dict[str, dict[str, dict[str, float]]] = {
            split: {name: row[measure] for name, row in report[split]["rows"].items() if measure in row}
            for split in ("val", "test")
            if split in report
        }
        gates = _gates(records.pipeline_root, run, steps)
        is_served = run.run_id == listing.run_of_served
        return cls(run, is_served, steps, gates, recall, measure, _manifest(folder, run.run_id))

    @property
    def seconds(self) -> float:
        """How long its steps took together."""
        return sum(step.seconds or 0.0 for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold."""
        return {
            "run_id": self.run.run_id,
            "outcome": self.run.outcome,
            "model_version": self.run.version or None,
            "served": self.is_served,
            "seconds": round(self.seconds, 1),
            "measure": self.measure or None,
            "recall": self.recall,
            "gates": {
                name: {"decision": gate.decision, "reasons": list(gate.reasons)} for name, gate in self.gates.items()
            },
            "steps": [vars(step) for step in self.steps],
            "counts": self.published.get("counts"),
            "code": self.published.get("code"),
            "settings": self.published.get("settings"),
        }


def _steps(records: RunRecords, run: RecordedRun) -> tuple[Step, ...]:
    store = records.open(read_only=True)
    types = {kind.id: kind.name for kind in store.get_context_types()}
    found = []
    for execution in sorted(store.get_executions_by_id(sorted(run.executions)), key=lambda one: one.id):
        nodes = [c.name for c in store.get_contexts_by_execution(execution.id) if types[c.type_id] == "node"]
        name = nodes[0].rpartition(".")[2] if nodes else execution.type.rpartition(".")[2]
        state = _STATES.get(execution.last_known_state, "stopped")
        took = (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000
        found.append(Step(name, state, round(took, 3) if state == "ran" else None))
    return tuple(found)


def _gates(root: Path, run: RecordedRun, steps: tuple[Step, ...]) -> dict[str, Gate]:
    ended = {step.name: step.state for step in steps}
    found: dict[str, Gate] = {}
    if _DATA_GATE in ended and ended[_DATA_GATE] != "stopped":
        refused = ended[_DATA_GATE] == "failed"
        found[_DATA_GATE] = Gate("refused", ("see run.log of that run",)) if refused else Gate("passed")
    blessings = {place_of(artifact)[0]: artifact for artifact in run.artifacts.values() if _is_blessing(artifact)}
    for name in sorted(blessings, key=_order):
        artifact = blessings[name]
        is_blessed = bool(artifact.custom_properties["blessed"].int_value)
        reasons = () if is_blessed else _reasons(root, run, name, root.joinpath(*place_of(artifact)))
        found[name] = Gate("passed" if is_blessed else "refused", reasons)
    return found


def _is_blessing(artifact: metadata_store_pb2.Artifact) -> bool:
    return place_of(artifact)[1] == "blessing" and "blessed" in artifact.custom_properties


def _order(name: str) -> tuple[int, str]:
    return (_GATES.index(name) if name in _GATES else len(_GATES)), name


def _reasons(root: Path, run: RecordedRun, name: str, blessing: Path) -> tuple[str, ...]:
    if name == _EVALUATOR:
        return tuple(map(str, _evaluation(root, run).get("refused_because", ())))
    reasons: list[str] = []
    for file in sorted(blessing.glob("*.json")):
        reasons += map(str, _json(file).get("refused_because", ()))
    with suppress(OSError):
        reasons.append((blessing / _SERVING_PROBLEM).read_text(encoding="utf-8"))
    return tuple(reasons)


def _evaluation(root: Path, run: RecordedRun) -> dict[str, Any]:
    """Returns the report of the evaluation; empty where there was none, or it was pruned."""
    found = [a for _, a in sorted(run.artifacts.items()) if place_of(a)[:2] == (_EVALUATOR, "evaluation")]
    return _json(root.joinpath(*place_of(found[-1])) / _REPORT) if found else {}


def _manifest(folder: RunFolder, run_id: str) -> dict[str, Any]:
    found = _json(folder.history / run_id.replace(":", "-") / "manifest.json")
    return found if found.get("tfx_run_id", run_id) == run_id else {}


def _json(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        content = json.loads(file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}

"""The results of a finished run, as plain paths and values."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfx_pipeline.outputs.schemas import EMBEDDINGS, MATCHES, SONGS_SUMMARY, TARGETS

if TYPE_CHECKING:
    from tfx_pipeline.history.run_record import RunRecord


@dataclass(frozen=True)
class RunResult:
    """The results of a finished run.

    Attributes:
        run_id: Name of the run in TFX: the time of its start.
        artifacts: A digest of the artifacts' ids. Two runs share it if the second took all from the cache.
        parts: Parquet files of each published table, by the table's name; none where no model was pushed.
        page: The run's page.
        pushed: Folder of the version that was pushed; None where none was.
        refused_because: Why none was pushed.
        checks: The decisions of the gates.
        targeting: The weight of the count that the targeting chose, and the range of its scores; None where nothing was
            pushed.
        reliability: The fitted reliability of matches, for `Reliability.from_dict`; None where it could not be fitted.
    """

    run_id: str
    artifacts: str
    parts: dict[str, tuple[Path, ...]]
    page: Path
    pushed: Path | None
    refused_because: tuple[str, ...]
    checks: dict[str, Any]
    targeting: dict[str, Any] | None = None
    reliability: dict[str, Any] | None = None

    @classmethod
    def read(cls, record: RunRecord) -> RunResult:
        """Reads the record of a run that ended."""
        from tfx_pipeline.evaluation.component import REPORT
        from tfx_pipeline.gates.data_gate import REPORT as DATA_REPORT
        from tfx_pipeline.tfx_extensions.artifacts import PAGE

        pushed = bool(record.number("Pusher", "pushed_model", "pushed"))
        evaluation = json.loads(_text(record.uri("RetrievalEvaluator", "evaluation") / REPORT))
        gates = _gates(record)
        reasons = itertools.chain.from_iterable(gate["refused_because"] for gate in gates.values())
        return cls(
            run_id=record.run_id,
            artifacts=_digest(record),
            parts=_parts(record) if pushed else {},
            page=record.uri("RunPage", "page") / PAGE,
            pushed=Path(record.text("Pusher", "pushed_model", "pushed_destination")) if pushed else None,
            refused_because=(*evaluation["refused_because"], *reasons),
            checks=_checks(evaluation, _text(record.uri("DataGate", "report_of_data") / DATA_REPORT), gates),
            targeting=_targeting(str(record.uri("AudienceTargeter", "targets"))) if pushed else None,
            reliability=evaluation.get("reliability", {}).get("fitted"),
        )


# The modules with the names of the components' files are imported late: they import TFX, which takes half a minute.


def _parts(record: RunRecord) -> dict[str, tuple[Path, ...]]:
    """Returns the files of each table, with the matches and embeddings that the targets were made from."""
    from tfx_pipeline.evaluation.catalogue_embedding import EMBEDDINGS as EMBEDDING_FILES
    from tfx_pipeline.evaluation.catalogue_embedding import MATCHES as MATCH_FILES
    from tfx_pipeline.targeting.data.sinks import part_files

    embeddings = record.input_uri("AudienceTargeter", "embeddings")
    targets = str(record.uri("AudienceTargeter", "targets"))
    return {
        EMBEDDINGS.name: tuple(sorted(embeddings.glob(f"{EMBEDDING_FILES}-*.parquet"))),
        MATCHES.name: tuple(sorted(embeddings.glob(f"{MATCH_FILES}-*.parquet"))),
        TARGETS.name: tuple(map(Path, part_files(targets, "targets"))),
        SONGS_SUMMARY.name: tuple(map(Path, part_files(targets, "summary"))),
    }


def _targeting(targets: str) -> dict[str, Any]:
    from tfx_pipeline.targeting.beam.count_weight import settled
    from tfx_pipeline.targeting.data.sinks import read_marker
    from tfx_pipeline.targeting.rules.score_range import about_scores

    return about_scores(settled(read_marker(targets)))


def _gates(record: RunRecord) -> dict[str, dict[str, Any]]:
    """Returns the decision of each component that blesses a model, without the evaluator, whose report has more."""
    from tfx_pipeline.gates.serving_validator import REASON

    return {
        component: {
            "passed": bool(record.number(component, output, "blessed")),
            "refused_because": _refusals(Path(artifact.uri), REASON),
        }
        for (component, output), artifact in sorted(record.outputs.items())
        if output == "blessing" and component != "RetrievalEvaluator"
    }


def _refusals(blessing: Path, infra_reason: str) -> list[str]:
    """Returns why a component refused the model: from a JSON report, or from the text of a failed serving."""
    reasons: list[str] = []
    for report in sorted(blessing.glob("*.json")):
        reasons += json.loads(_text(report)).get("refused_because", [])
    if (blessing / infra_reason).exists():
        reasons.append(f"when it was served: {_text(blessing / infra_reason)}")
    return reasons


def _checks(evaluation: dict[str, Any], data_report: str, gates: dict[str, Any]) -> dict[str, Any]:
    """Returns the decisions of the gates. Findings of the data gate are only counted: they may hold values."""
    found = {
        split: {metric: estimate["mean"] for metric, estimate in evaluation[split]["rows"]["model"].items()}
        for split in ("val", "test")
        if split in evaluation
    }
    judged = {"passed": evaluation["blessed"], "refused_because": evaluation["refused_because"], "model": found}
    if of_test := evaluation.get("reliability", {}).get("test"):
        judged["reliability"] = {name: of_test[name] for name in ("rho", "low", "high")}
    return {
        "DataGate": {"passed": True, "noted": sum(line.startswith("noted") for line in data_report.splitlines())},
        "RetrievalEvaluator": judged,
        **gates,
    }


def _digest(record: RunRecord) -> str:
    named = sorted((*key, artifact.id) for key, artifact in record.outputs.items())
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")

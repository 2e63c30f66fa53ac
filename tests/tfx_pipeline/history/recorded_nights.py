"""Folders of runs made by hand, with records in ML Metadata, so that a night takes no time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from tfx_pipeline.runtime.run_folder import RunFolder

_OUTPUTS = (
    ("SongStatistics", "statistics", "ExampleStatistics"),
    ("PlayStatistics", "statistics", "ExampleStatistics"),
    ("Trainer", "model", "Model"),
    ("RetrievalEvaluator", "evaluation", "ModelEvaluation"),
    ("Pusher", "pushed_model", "PushedModel"),
)


@dataclass
class Nights:
    """Runs in a folder; each leaves what the pipeline's would, in files of a few bytes.

    Attributes:
        folder: Of the runs.
        names: Ids of the runs so far.
        made: For each run, its artifacts by component.
    """

    folder: RunFolder
    names: list[str] = field(default_factory=list)
    made: list[dict[str, mlmd.Artifact]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.home.mkdir(parents=True, exist_ok=True)
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(self.folder.metadata)
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = metadata_store.MetadataStore(config)

    def add(self, outcome: str, *, cached: bool = False, of: int = -1, recall: float = 0.25) -> str:
        """Adds a run: `pushed`, `refused` by the evaluation, `stopped` by the data gate, or `killed` before training.

        A run that is cached takes all that run `of` left, the one before it by default.
        """
        name = f"2026-11-{len(self.names) + 1:02}T02:00:00.000000"
        run = mlmd.Context(type_id=self._type("context", "pipeline_run"), name=name)
        (run_id,) = self.store.put_contexts([run])
        made: dict[str, mlmd.Artifact] = {}
        for component, output, kind in _OUTPUTS:
            if outcome in ("stopped", "killed") and kind not in ("ExampleStatistics",):
                break
            if cached:
                artifact = self.made[of][component]
                self._execute(run_id, component, mlmd.Execution.CACHED, artifact)
            else:
                artifact = self._new(run_id, component, output, kind, outcome, recall)
            made[component] = artifact
        for component in self.made[of].keys() - made.keys() if cached else ():
            made[component] = self.made[of][component]
            self._execute(run_id, component, mlmd.Execution.CACHED, made[component])
        if outcome == "stopped":
            self._execute(run_id, "tfx_pipeline.gates.data_gate.DataGate", mlmd.Execution.FAILED)
        if outcome == "killed":
            execution = self._execute(run_id, "Transform", mlmd.Execution.RUNNING)
            _fill(self.folder.pipeline_root / "Transform" / "graph" / str(execution), "half")
        self.names.append(name)
        self.made.append(made)
        return made["Pusher"].custom_properties["pushed_version"].string_value if "Pusher" in made else ""

    def give(self, run: int, component: str, output: str, kind: str, name: str, content: str) -> mlmd.Artifact:
        """Adds an output of one file to a run."""
        context = next(c for c in self.store.get_contexts_by_type("pipeline_run") if c.name == self.names[run])
        execution = self._execute(context.id, component, mlmd.Execution.COMPLETE)
        place = self.folder.pipeline_root / component / output / str(execution)
        _fill(place, content, name)
        artifact = mlmd.Artifact(type_id=self._type("artifact", kind), uri=str(place), state=mlmd.Artifact.LIVE)
        (artifact.id,) = self.store.put_artifacts([artifact])
        self._link(execution, artifact.id)
        self.made[run][component] = artifact
        return artifact

    def publish(self, run: int) -> None:
        """Writes what a run gives to others, and makes `latest` lead there."""
        name = self.names[run].replace(":", "-")
        version = self.made[run]["Pusher"].custom_properties["pushed_version"].string_value
        out = self.folder.home / "history" / name
        out.mkdir(parents=True)
        (out / "manifest.json").write_text(json.dumps({"model": {"version": version}}))
        latest = self.folder.home / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(Path("history") / name)

    def states(self) -> dict[int, int]:
        return {artifact.id: artifact.state for artifact in self.store.get_artifacts()}

    def _new(self, run_id: int, component: str, output: str, kind: str, outcome: str, recall: float) -> mlmd.Artifact:
        execution = self._execute(run_id, component, mlmd.Execution.COMPLETE)
        place = self.folder.pipeline_root / component / output / str(execution)
        artifact = mlmd.Artifact(type_id=self._type("artifact", kind), uri=str(place), state=mlmd.Artifact.LIVE)
        if kind == "PushedModel":
            _fill(place, "archive")
            artifact.custom_properties["pushed"].int_value = int(outcome == "pushed")
            if outcome == "pushed":
                version = str(1000 + execution)
                artifact.custom_properties["pushed_version"].string_value = version
                _fill(self.folder.serving / version, f"model {execution}")
        elif kind == "ExampleStatistics":
            _fill(place / "Split-all", f"{component} {execution}", "FeatureStats.pb")
        elif kind == "ModelEvaluation":
            rows = {"model": {"recall@50": {"mean": recall}}}
            _fill(place, json.dumps({"settings": {"k": 50}, "test": {"rows": rows}}), "report.json")
        elif kind == "Model":
            _fill(place / "Format-Serving", f"judged {execution}")
        _fill(self.folder.pipeline_root / component / ".system" / "executor_execution" / str(execution), "")
        (artifact.id,) = self.store.put_artifacts([artifact])
        self._link(execution, artifact.id)
        return artifact

    def _execute(self, run_id: int, component: str, state: int, artifact: mlmd.Artifact | None = None) -> int:
        execution = mlmd.Execution(type_id=self._type("execution", component), last_known_state=state)
        (number,) = self.store.put_executions([execution])
        self.store.put_attributions_and_associations([], [mlmd.Association(execution_id=number, context_id=run_id)])
        if artifact is not None:
            self._link(number, artifact.id)
        return int(number)

    def _link(self, execution: int, artifact: int) -> None:
        self.store.put_events([mlmd.Event(execution_id=execution, artifact_id=artifact, type=mlmd.Event.OUTPUT)])

    def _type(self, what: str, name: str) -> int:
        kinds = {
            "context": (mlmd.ContextType, self.store.put_context_type),
            "artifact": (mlmd.ArtifactType, self.store.put_artifact_type),
            "execution": (mlmd.ExecutionType, self.store.put_execution_type),
        }
        kind, put = kinds[what]
        return int(put(kind(name=name)))


def _fill(folder: Path, content: str, name: str = "file") -> None:
    folder.mkdir(parents=True)
    (folder / name).write_text(content)

"""Inputs and outputs of the last run of a pipeline, read from ML Metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from tfx_pipeline.history.run_records import RunRecords

_OUTPUT, _INPUT = metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.INPUT


@dataclass(frozen=True)
class RunRecord:
    """Inputs and outputs of the last run, from components that ran and from the cache.

    Attributes:
        run_id: Name of the run: the time of its start.
        outputs: Artifact by (component id, output name).
        inputs: Artifact by (component id, input name), the last one where there are several.
    """

    run_id: str
    outputs: dict[tuple[str, str], metadata_store_pb2.Artifact]
    inputs: dict[tuple[str, str], metadata_store_pb2.Artifact]

    @classmethod
    def latest(cls, records: RunRecords) -> RunRecord:
        """Reads the record of the last run.

        Raises:
            ValueError: If nothing ran yet, or the records cannot be read.
        """
        store = records.open(read_only=True)
        last = _last_run(store, records)
        if last is None:
            raise ValueError(f"{records.pipeline_root.parent}: expected a pipeline run. Received: none")
        found: dict[int, dict[tuple[str, str], metadata_store_pb2.Artifact]] = {_OUTPUT: {}, _INPUT: {}}
        for execution in store.get_executions_by_context(last.id):
            node = _node_of(store, execution)
            for event in store.get_events_by_execution_ids([execution.id]):
                if event.type in found:
                    (artifact,) = store.get_artifacts_by_id([event.artifact_id])
                    found[event.type][node, event.path.steps[0].key] = artifact
        return cls(last.name, found[_OUTPUT], found[_INPUT])

    def uri(self, component: str, output: str) -> Path:
        """Returns the folder of an output."""
        return Path(self.outputs[component, output].uri)

    def input_uri(self, component: str, name: str) -> Path:
        """Returns the folder of what a component read."""
        return Path(self.inputs[component, name].uri)

    def number(self, component: str, output: str, name: str) -> int:
        """Returns an integer property that the component gave its output."""
        return self.outputs[component, output].custom_properties[name].int_value

    def text(self, component: str, output: str, name: str) -> str:
        """Returns a string property that the component gave its output."""
        return self.outputs[component, output].custom_properties[name].string_value


def last_run_id(records: RunRecords) -> str | None:
    """Returns the name of the last run, ended or not; None if nothing ran yet."""
    last = _last_run(records.open(read_only=True), records) if records.exist() else None
    return None if last is None else str(last.name)


def _last_run(store: metadata_store.MetadataStore, records: RunRecords) -> metadata_store_pb2.Context | None:
    runs = filter(records.is_own, store.get_contexts_by_type("pipeline_run"))
    return max(runs, key=lambda run: run.id, default=None)


def _node_of(store: metadata_store.MetadataStore, execution: metadata_store_pb2.Execution) -> str:
    types = {context_type.id: context_type.name for context_type in store.get_context_types()}
    (node,) = [c for c in store.get_contexts_by_execution(execution.id) if types[c.type_id] == "node"]
    return node.name.partition(".")[2]

"""TFX's local runner, whose runs stay apart from those of other folders where a database is shared."""

from __future__ import annotations

from typing import Any

from tfx import v1 as tfx

from tfx_pipeline.history.run_records import OWNER, RunRecords


class RecordingRunner(tfx.orchestration.LocalDagRunner):
    """Runs a pipeline in this process.

    In a shared database each run carries the folder that it belongs to. That is part of TFX's cache key, too: another
    folder may be pruned or removed on its own, so no run takes what a run in another folder left.
    """

    def __init__(self, records: RunRecords) -> None:
        super().__init__()
        self._records = records

    def run_with_ir(self, pipeline: Any, run_options: Any = None, **kwargs: Any) -> None:
        """Runs the compiled pipeline."""
        if self._records.is_shared:
            pipeline.pipeline_info.id = f"{pipeline.pipeline_info.id}.{self._records.folder_id}"
            for node in pipeline.nodes:
                for context in node.pipeline_node.contexts.contexts:
                    if context.type.name == "pipeline_run":
                        context.properties[OWNER].field_value.string_value = self._records.owner
        super().run_with_ir(pipeline, run_options, **kwargs)

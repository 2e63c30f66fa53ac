"""CAT, clustering-based audience targeting: target listeners for songs nobody has played, on Beam.

Imports: columnar, contract, evaluation, runtime, serving.files, serving.refresh, tfx_extensions.
Imported by: index_refresh, local_run, outputs, reports, the entrances.

`target_listeners(pipeline, catalogue=..., matches=..., plays=..., output=..., config=...)` is the whole step from
files to files; `TargetListeners(config)` the transform in between.
"""

from tfx_pipeline.targeting.beam.target_listeners import Targeting, TargetListeners
from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.data.sinks import WriteTargets, read_marker, read_summary, read_targets
from tfx_pipeline.targeting.data.sources import target_listeners

__all__ = [
    "TargetListeners",
    "Targeting",
    "TargetingConfig",
    "WriteTargets",
    "read_marker",
    "read_summary",
    "read_targets",
    "target_listeners",
]

"""Which engine runs the Beam steps, for every runner script."""

from __future__ import annotations

import os
import shlex

#: Beam's runner in this process. "DirectRunner" would first try to download another one. The image is never used. But
#: unless an option names what workers have, TFX packs itself for them before every step, which takes ten seconds.
IN_MEMORY = (
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
    "--sdk_container_image=this-process",
)


def has_workers() -> bool:
    """Returns whether another engine runs the Beam steps, and not this process."""
    return beam_options() != IN_MEMORY


def beam_options() -> tuple[str, ...]:
    """Returns the options in BCL_BEAM, as `--runner=FlinkRunner --flink_master=host:8081`; default `IN_MEMORY`."""
    return tuple(shlex.split(os.environ.get("BCL_BEAM", ""))) or IN_MEMORY

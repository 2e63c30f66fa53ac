"""Which engine runs the Beam steps, for every runner script."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence

#: Beam's runner in this process. "DirectRunner" would first try to download another one. The image is never used. But
#: unless an option names what workers have, TFX packs itself for them before every step, which takes ten seconds.
IN_MEMORY = (
    "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner",
    "--sdk_container_image=this-process",
)


#: The variable of the environment that names the engine.
VARIABLE = "BCL_BEAM"
#: The variable that says how many seconds one job may take.
LIMIT_VARIABLE = "BCL_JOB_LIMIT"
_RUNNER, _JOB_SERVER = "--runner=", "--job_endpoint="


def has_workers() -> bool:
    """Returns whether another engine runs the Beam steps, and not this process."""
    return beam_options() != IN_MEMORY


def beam_options() -> tuple[str, ...]:
    """Returns the options in BCL_BEAM, as `--runner=FlinkRunner --flink_master=host:8081`; default `IN_MEMORY`."""
    return tuple(shlex.split(os.environ.get(VARIABLE, ""))) or IN_MEMORY


def job_limit() -> float | None:
    """Returns the seconds in BCL_JOB_LIMIT that one job of Beam may take; None for no limit.

    Raises:
        ValueError: If they are no number above 0.
    """
    given = os.environ.get(LIMIT_VARIABLE)
    if not given:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ValueError(f"{LIMIT_VARIABLE}: expected seconds above 0. Received: {given!r}")
    return seconds


def engine_in_words(options: Sequence[str]) -> str:
    """Returns the runner and its address; "" if Beam's steps run in this process.

    Args:
        options: Beam's options.
    """
    given = tuple(options)
    if given in ((), IN_MEMORY):
        return ""
    runner = value_of(_RUNNER, given) or "Beam's default runner"
    server = job_server(given)
    return f"{runner.rpartition('.')[2]} at {server}" if server else runner.rpartition(".")[2]


def job_server(options: Sequence[str]) -> str | None:
    """Returns the address of the job server that runs every step; None if each step starts one, or needs none."""
    return value_of(_JOB_SERVER, options)


def value_of(option: str, options: Sequence[str]) -> str | None:
    """Returns the last value of an option such as `--runner=`; None where it is not given."""
    values = [given.removeprefix(option) for given in options if given.startswith(option)]
    return values[-1] if values else None

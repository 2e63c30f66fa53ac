"""TFX's own command, without the messages of libraries while they load: `python -m tfx_pipeline.tfx_command ...`.

It takes the arguments of `tfx`, such as `run create --engine local --pipeline_name bcl`, and gives its exit code. It
needs no activated environment. `make shell` opens a shell in which `tfx` is this command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tfx_pipeline.runtime.console import import_quietly
from tfx_pipeline.runtime.keras_backend import use_tensorflow


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    # TFX starts `pip` by its name.
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    use_tensorflow()
    import_quietly("tfx.tools.cli.cli_main")
    from tfx.tools.cli.cli_main import cli_group

    cli_group.callback = None  # which prints the word CLI
    try:
        cli_group.main(None if argv is None else list(argv), prog_name="tfx")
    except SystemExit as ended:
        if str(ended.code).startswith("Error while running"):  # the run has printed the reason on standard error
            return 1
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Our lines reach the user; output of libraries, also from C, reaches the log."""

import os
import subprocess
import sys

_SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from tfx_pipeline.runtime.console import Console
console = Console()
with console.output_to_log(Path(sys.argv[1])):
    print("python line")
    os.write(2, b"native line\\n")
    subprocess.run([sys.executable, "-c", "print('child line')"])
    console.say("a line for the user")
console.say("another line")
"""


def test_only_our_lines_are_seen(tmp_path):
    log = tmp_path / "deep" / "run.log"
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(log)], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.stdout == "a line for the user\nanother line\n"
    assert done.stderr == ""
    assert set(log.read_text().splitlines()) == {"python line", "native line", "child line"}


_LATE = """
import sys
from pathlib import Path
from tfx_pipeline.runtime.console import Console, import_quietly
import_quietly("noisy")
with Console().output_to_log(Path(sys.argv[1])):
    import_quietly("noisy_too")
    print("last line")
import_quietly("noisy_again")
"""


def test_output_of_imports_reaches_only_the_log(tmp_path):
    """Also output from before there was a log. Without a log it is lost."""
    for name in ("noisy", "noisy_too", "noisy_again"):
        code = f"import os, warnings\nos.write(2, b'native {name}\\n')\nwarnings.warn('{name} warns', FutureWarning)\n"
        (tmp_path / f"{name}.py").write_text(code)
    log = tmp_path / "run.log"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", _LATE, str(log)], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    shown = log.read_text()
    for expected in ("native noisy\n", "noisy warns", "native noisy_too\n", "noisy_too warns", "last line\n"):
        assert expected in shown
    assert shown.index("noisy warns") < shown.index("last line") and "noisy_again" not in shown

"""Our lines reach the user; chatter, also from C, reaches the log."""

import os
import subprocess
import sys

_SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from tfx_pipeline.console import Console
console = Console()
with console.chatter_to(Path(sys.argv[1])):
    print("python chatter")
    os.write(2, b"native chatter\\n")
    subprocess.run([sys.executable, "-c", "print('child chatter')"])
    console.say("a line for the user")
console.say("another line")
"""


def test_only_our_lines_are_seen(tmp_path):
    log = tmp_path / "deep" / "run.log"
    done = subprocess.run([sys.executable, "-c", _SCRIPT, str(log)], capture_output=True, text=True, env=os.environ)
    assert done.stdout == "a line for the user\nanother line\n"
    assert done.stderr == ""
    assert set(log.read_text().splitlines()) == {"python chatter", "native chatter", "child chatter"}

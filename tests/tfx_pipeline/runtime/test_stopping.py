"""Signals to real processes: one line, the exit code, no traceback, and no process left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tfx_pipeline.runtime.stopping import GOES_ON, descendants

pytestmark = pytest.mark.slow

_PREFACE = """
    import os, signal, subprocess, sys, threading, time
    from tfx_pipeline.runtime.stopping import stop_on_signals
    stop_on_signals()
"""
#: What a command may be at when the signal comes.
_BUSY_AT = {
    "python": "print('ready', flush=True)\nwhile True: pass",
    "waiting": "print('ready', flush=True)\nthreading.Event().wait()",
    "swallowing": """
        print('ready', flush=True)
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass
    """,
    "in a library that does not come back": """
        from ctypes import CDLL, create_string_buffer
        mutex = create_string_buffer(256)
        def look():
            while mutex[0] != b"\\2":  # nobody waits for it yet
                time.sleep(0.01)
            print('ready', flush=True)
        threading.Thread(target=look, daemon=True).start()
        while True:
            CDLL(None).pthread_mutex_lock(mutex)
    """,
    "with a thread that goes on": """
        threading.Thread(target=time.sleep, args=(600,)).start()
        print('ready', flush=True)
        time.sleep(600)
    """,
    "log file": """
        from pathlib import Path
        from tfx_pipeline.runtime.console import Console
        console = Console()
        with console.output_to_log(Path(sys.argv[1])):
            console.say('ready')
            time.sleep(600)
    """,
    "failing because of it": """
        print('ready', flush=True)
        try:
            time.sleep(600)
        finally:
            raise RuntimeError('a worker is gone')
    """,
}


def start(script: str, *arguments: str, preface: str = _PREFACE) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(preface) + textwrap.dedent(script), *arguments]
    command = as_in_a_terminal(command)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def as_in_a_terminal(command: list[str]) -> list[str]:
    """Whoever runs the tests may ignore the signals, as a shell does for what it starts with `&`."""
    return with_signals("SIG_DFL", ["SIGINT", "SIGTERM", "SIGHUP"], command)


def with_signals(handler: str, names: list[str], command: list[str]) -> list[str]:
    """Returns a command that treats signals so from its start.

    It becomes the given one. A `preexec_fn` would fork this process, and the threads that other tests left in gRPC
    would write into the pipes of the fork.
    """
    script = f"""
        import os, signal, sys
        for name in {names}:
            signal.signal(signal.Signals[name], signal.{handler})
        os.execv(sys.argv[1], sys.argv[1:])
    """
    return [sys.executable, "-c", textwrap.dedent(script), *command]


def ready(process: subprocess.Popen) -> list[str]:
    """Waits for the process's line, and returns the words of it that follow "ready"."""
    assert process.stdout
    word, *rest = process.stdout.readline().split()
    assert word == "ready"
    return rest


@pytest.mark.parametrize("busy", _BUSY_AT)
def test_a_signal_ends_with_one_line(busy: str, tmp_path: Path) -> None:
    process = start(_BUSY_AT[busy], str(tmp_path / "log"))
    ready(process)
    number = signal.SIGTERM if busy == "waiting" else signal.SIGINT
    process.send_signal(number)
    assert process.stderr
    assert process.stderr.readline() == f"Stopped. {GOES_ON}\n"
    if busy == "swallowing":
        process.send_signal(number)  # does not wait
    assert process.communicate() == ("", "")
    assert process.returncode == 128 + number


def test_an_unfinished_file_is_removed(tmp_path: Path) -> None:
    script = """
        from pathlib import Path
        from serving.files.folder_lock import only_process_in
        from tfx_pipeline.contract.folder import new_folder
        with only_process_in(sys.argv[1]), new_folder(Path(sys.argv[1]) / "out", "mark") as aside:
            (aside / "half").touch()
            print("ready", flush=True)
            time.sleep(600)
    """
    process = start(script, str(tmp_path / "home"))
    ready(process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143 and not any(tmp_path.iterdir())


def test_processes_that_were_started_end_too() -> None:
    """A child, a child of that, one that ignores SIGTERM, and a forked one."""
    script = """
        deaf = "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print(1, flush=True); time.sleep(600)"
        subprocess.Popen(["sh", "-c", "sleep 600 & wait"], start_new_session=True)
        with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            if os.fork() == 0:
                time.sleep(600)
            print("ready", flush=True)
            time.sleep(600)
    """
    process = start(script)
    ready(process)
    found: list[int] = []
    while len(found) < 4:
        found = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()  # ends when the last of them has closed its end
    assert (out, err, process.returncode) == ("", f"Stopped. {GOES_ON}\n", 130)
    while any(Path(f"/proc/{child}").exists() and not is_zombie(child) for child in found):
        time.sleep(0.01)


def is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_forked_process_ends_alone() -> None:
    """As the workers of a pool do, which are ended by SIGTERM."""
    script = """
        worker = os.fork()
        if worker == 0:
            time.sleep(600)
        os.kill(worker, signal.SIGTERM)
        _, status = os.waitpid(worker, 0)
        print("ready", -os.waitstatus_to_exitcode(status), flush=True)
    """
    process = start(script)
    assert ready(process) == [str(signal.SIGTERM.value)]
    assert process.communicate() == ("", "") and process.returncode == 0


def test_a_signal_that_is_ignored_stays_so() -> None:
    """`nohup` ignores SIGHUP, and a shell SIGINT for what it starts with `&`."""
    command = [sys.executable, "-c", textwrap.dedent(_PREFACE) + "print('ready', flush=True)\nsys.stdin.read()"]
    command = with_signals("SIG_IGN", ["SIGHUP"], command)
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    ready(process)
    process.send_signal(signal.SIGHUP)
    assert process.communicate("") == ("", "") and process.returncode == 0


@pytest.mark.parametrize(("command", "ends"), [("tfx", True), ("tfx_pipeline.tfx_command", True), ("other", False)])
def test_a_run_ends_with_the_tfx_command_alone(tmp_path: Path, command: str, ends: bool) -> None:
    """As `tfx run create` starts it; what `nohup` or a shell has started goes on without them."""
    runner = textwrap.dedent(_PREFACE) + textwrap.dedent("""
        from tfx_pipeline.runtime.stopping import stop_with_tfx
        stop_with_tfx()
        print("ready", os.getpid(), flush=True)
        sys.stdin.read()
        print("to its end", flush=True)
    """)
    (tmp_path / "runner.py").write_text(runner)
    script = "import subprocess, sys\nsubprocess.call([sys.executable, sys.argv[3]])\n"
    (tmp_path / command).write_text(script)
    process = subprocess.Popen(
        as_in_a_terminal([sys.executable, str(tmp_path / command), "run", "create", str(tmp_path / "runner.py")]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ready(process)
    process.kill()
    process.wait()
    if ends:
        assert process.stderr and process.stderr.read() == f"Stopped. {GOES_ON}\n"
    out, err = process.communicate()
    assert (out, err) == ("" if ends else "to its end\n", "")


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        ("tfx_pipeline.demo", GOES_ON),
        ("tfx_pipeline.run", GOES_ON),
        ("tfx_pipeline.runs", "Only the changes printed above were made."),
        ("tfx_pipeline.contract", "Nothing was written."),
        ("tfx_pipeline.target", "What an earlier run wrote still holds."),
        ("tfx_pipeline.refresh", "Nothing was published."),
        ("tfx_pipeline.campaign_report", "Nothing was written."),
        ("tfx_pipeline.local_runner", GOES_ON),
        ("tfx_pipeline.refresh_runner", GOES_ON),
    ],
)
def test_commands_stop_on_signals_from_the_start(module: str, shown: str) -> None:
    """Before the imports that take seconds."""
    script = f"""
        import os, runpy, signal, sys
        from tfx_pipeline.runtime import stopping

        stop = stopping.stop_on_signals

        def stop_on_one(*arguments):
            stop(*arguments)
            sys.stdout.write(" ".join({{"apache_beam", "keras", "tensorflow", "tfx"}} & set(sys.modules)))
            os.kill(os.getpid(), signal.SIGINT)

        stopping.stop_on_signals = stop_on_one
        runpy.run_module({module!r}, run_name="__main__")
    """
    process = start(script, preface="")
    out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "", f"Stopped. {shown}\n")

"""Measure time and memory of every component as plays grow.

python -m benchmarks.pipeline_scale [--songs 100000] [--plays 1000000 10000000] [--out DIR] [--settings FILE]

Runs the whole pipeline on simulated catalogues of the same songs and more and more plays, and writes results.json and
table.md: for each component the seconds by the clock and of CPU, the most memory that one process held while it ran,
and how the CPU seconds grow. Listeners grow with the plays (`--plays-per-user` each), as those of a service do. A run
that was stopped goes on where it stopped; what lies in the folder already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.lines import say
from serving.files.whole_files import write_whole

_LINE = re.compile(r"^  (\w+)\s+([\d.]+) s$")
_SECONDS_BETWEEN_LOOKS = 0.2
_MEBIBYTE = 2**20
#: The cost of training depends on the songs alone, so a short training is enough to see what more plays cost.
SETTINGS = {
    "model": {"epochs": 1, "contrast_weight": 0.3, "field_dropout": 0.3},
    "training": {"positives": 1},
    "ridge": {"max_landmarks": 1024, "ridges": [2.0], "own_shares": [0.5], "powers": [0.0], "spreads": [0.5]},
}


def main(arguments: list[str]) -> int:
    """Runs the sizes in their order and writes what was found after each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pipeline_scale", description=(__doc__ or "").split("\n\n")[2]
    )
    parser.add_argument("--songs", type=int, default=100_000, help="number of songs (default: %(default)s)")
    parser.add_argument(
        "--plays",
        type=int,
        nargs="+",
        default=[1_000_000, 10_000_000],
        help="numbers of plays, a run for each (default: 1000000 10000000)",
    )
    parser.add_argument("--plays-per-user", type=int, default=100, help="plays of each user (default: %(default)s)")
    parser.add_argument("--settings", type=Path, help="JSON file of settings (default: a short training)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/scale"), help="folder for all that is written (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = options.settings or options.out / "settings.json"
    if not options.settings:
        settings.write_text(json.dumps(SETTINGS))
    runs = []
    for plays in sorted(options.plays):
        runs.append(measure(options.out / f"{plays}_plays", options.songs, plays, options.plays_per_user, settings))
        write_whole(options.out / "results.json", json.dumps(runs, indent=1))
        write_whole(options.out / "table.md", table(runs))
    say(table(runs))
    return 0


def measure(folder: Path, songs: int, plays: int, plays_per_user: int, settings: Path) -> dict[str, Any]:
    """Simulates a catalogue and runs the pipeline on it; returns what result.json holds afterwards."""
    kept, users = folder / "result.json", max(2, plays // plays_per_user)
    result: dict[str, Any] = {"songs": songs, "users": users, "plays": plays, "ended": False, "stages": {}}
    if kept.exists():
        result = json.loads(kept.read_text())
    if result["ended"]:
        return result
    folder.mkdir(parents=True, exist_ok=True)
    say(f"{plays:,} plays of {users:,} users, {songs:,} songs")
    bound = {"BCL_DATA": folder / "data", "BCL_RUN": folder / "run", "BCL_SETTINGS": settings}
    environment = {**os.environ, **{name: str(path.resolve()) for name, path in bound.items()}}
    simulate = ["tfx_pipeline.datasets.simulate", f"--songs={songs}", f"--users={users}", f"--plays={plays}"]
    parts = [] if (folder / "data").is_dir() else [[*simulate, str(folder / "data")]]
    for part in [*parts, ["tfx_pipeline.local_runner"]]:
        for name, used in _stages(part, environment):
            result["stages"][name] = used
            write_whole(kept, json.dumps(result, indent=1))
    result["ended"] = True
    write_whole(kept, json.dumps(result, indent=1))
    return result


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Returns a Markdown table of seconds and memory by stage; growth is that of the last size over the first's."""
    first, last = runs[0], runs[-1]
    times = last["plays"] / first["plays"]
    head = [f"{run['plays']:,} plays: s, CPU s, MiB" for run in runs]
    lines = [f"| stage | {' | '.join(head)} | over linear |", "| --- |" + " --- |" * (len(runs) + 1)]
    for name in last["stages"]:
        measured = [run["stages"].get(name) for run in runs]
        lines.append(_line(name, measured, times))
    lines.append(_line("whole pipeline", [_total(run) for run in runs], times))
    return "\n".join(lines) + "\n"


def _line(name: str, measured: Sequence[Mapping[str, float] | None], times: float) -> str:
    cells = [
        f"{stage['seconds']:.0f}, {stage['cpu seconds']:.0f}, {stage['peak MiB']:,}" if stage else ""
        for stage in measured
    ]
    return f"| {name} | {' | '.join(cells)} | {_growth(measured, times)} |"


def _growth(measured: Sequence[Mapping[str, float] | None], times: float) -> str:
    first, last = measured[0], measured[-1]
    if not first or not last or times == 1 or not first["cpu seconds"]:
        return ""
    return f"{last['cpu seconds'] / first['cpu seconds'] / times:.2f}"


def _total(run: Mapping[str, Any]) -> dict[str, float]:
    of_pipeline = [stage for name, stage in run["stages"].items() if name != "simulate"]
    return {
        "seconds": sum(stage["seconds"] for stage in of_pipeline),
        "cpu seconds": sum(stage["cpu seconds"] for stage in of_pipeline),
        "peak MiB": max(stage["peak MiB"] for stage in of_pipeline),
    }


def _stages(module: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Runs a module and yields each stage whose line it prints, or the module itself if it prints none."""
    command, found, start = [sys.executable, "-W", "ignore", "-m", *module], False, time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(environment))
    assert process.stdout is not None
    with _watched(process.pid) as usage:
        for line in process.stdout:
            if stage := _LINE.match(line.rstrip()):
                found = True
                yield stage[1], _printed(stage[1], {"seconds": float(stage[2]), **usage.take()})
    if process.wait():
        raise RuntimeError(f"`{module[0]}` must end with exit code 0. Received: {process.returncode}")
    if not found:
        name = module[0].rsplit(".", 1)[-1]
        yield name, _printed(name, {"seconds": time.perf_counter() - start, **usage.take()})


def _printed(name: str, stage: dict[str, float]) -> dict[str, float]:
    say(f"  {name:<22}{stage['seconds']:9.1f} s {stage['cpu seconds']:9.1f} s CPU {stage['peak MiB']:8,} MiB")
    return stage


class _Usage:
    """What a process and its children used since it was last asked."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._lock = threading.Lock()
        self._peak, self._cpu, self._cpu_taken = 0, 0.0, 0.0

    def look(self) -> None:
        """Keeps the largest process's peak, and the CPU seconds of all since their start."""
        with self._lock, suppress(psutil.NoSuchProcess, OSError):  # it ended between two looks
            family = [self._root, *self._root.children(recursive=True)]
            times = [process.cpu_times() for process in family]
            cpu = sum(t.user + t.system for t in times) + times[0].children_user + times[0].children_system
            self._cpu = max(self._cpu, cpu)
            self._peak = max(self._peak, *(_peak(process) for process in family))

    def take(self) -> dict[str, float]:
        """Returns the peak in MiB and the CPU seconds, and starts anew."""
        self.look()
        with self._lock:
            used = {"cpu seconds": self._cpu - self._cpu_taken, "peak MiB": self._peak // _MEBIBYTE}
            self._peak, self._cpu_taken = 0, self._cpu
        return used


def _peak(process: psutil.Process) -> int:
    """The most memory that a process held since the last look: by the kernel's count, so that no look can miss it."""
    folder = Path(f"/proc/{process.pid}")
    peak = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
    (folder / "clear_refs").write_text("5")  # the count starts anew
    return int(peak[1]) * 1024 if peak else 0


@contextmanager
def _watched(pid: int) -> Iterator[_Usage]:
    usage, over = _Usage(pid), threading.Event()

    def watch() -> None:
        while not over.wait(_SECONDS_BETWEEN_LOOKS):
            usage.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield usage
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

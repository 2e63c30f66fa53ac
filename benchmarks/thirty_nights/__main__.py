"""Run thirty nights of a small music service; some of them go wrong.

python -m benchmarks.thirty_nights --out DIR [--nights 30 --keep 5 --seed 0]

Each night is `python -m tfx_pipeline.run --data DIR/data --out DIR/run --keep N`, as a scheduler starts it. `calendar`
has the nights that are not ordinary. After each night `checks` reads what is served and published, and searches every
file for listeners' ids. Writes nights.json, nights.md and nights.png to DIR. A study that was stopped continues.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.thirty_nights import checks, disk, processes
from benchmarks.thirty_nights.calendar import BROKEN_FILE, COLUMN_GONE, FORGET, NIGHTS, ROLLBACK, Night, night
from benchmarks.thirty_nights.picture import draw
from benchmarks.thirty_nights.report import report, summary
from benchmarks.thirty_nights.service import LISTENERS, Service
from serving.files.whole_files import write_whole

#: Small towers, a night in less than a minute. Any model may be pushed: gates that refuse by chance have tests of
#: their own, and the night whose data is refused is one of the thirty.
SETTINGS = {
    "model": {"epochs": 2, "batch_size": 64, "hidden_dims": [16], "field_dim": 8, "embedding_dim": 8},
    "evaluation": {
        "bootstrap": 50,
        "min_gain": -1,
        "min_difference": -1,
        "min_gain_last": -1,
        "min_gain_last_slice": -1,
    },
    "targeting": {"listeners_per_song": 15, "clusters": 3},
    "refit_overlap": 0,
}


def one_night(home: Path, plan: Night, service: Service, keep: int, before: dict[str, Any] | None) -> dict[str, Any]:
    """Runs a night and returns what came of it."""
    run, temporary = home / "run", home / "temporary"
    forgotten = _forgotten(home)
    problems = _prepare(home, plan, service)
    if plan.what == FORGET:
        forgotten = _forgotten(home)
    if plan.what == ROLLBACK and before is not None:
        before = {**before, "served": checks.served(run), "latest": (run / "latest").resolve().name}
    command = ["tfx_pipeline.run", "--data", str(home / "data"), "--out", str(run), "--keep", str(keep)]
    command += ["--settings", str(home / "settings.json")]
    ended = processes.run(command, temporary, kill_after=plan.killed_after)
    (home / "nights.log").open("a").write(
        f"== night {plan.number}: {plan.what}\n{ended.messages}{json.dumps(ended.line)}\n"
    )
    found = checks.Published.read(run)
    is_new = found is not None and (before is None or found.name != before["latest"])
    now: dict[str, Any] = {
        "night": plan.number,
        "what": plan.what,
        "exit_code": ended.exit_code,
        "outcome": ended.line and ended.line["outcome"],
        "reasons": ended.line["reasons"] if ended.line else [],
        "recall": ended.line["recall"] if ended.line else {},
        "served": checks.served(run),
        "latest": found and found.name,
        "seconds": ended.seconds,
        "cpu": ended.cpu,
        "peak": ended.peak,
        "disk": disk.taken(run),
        "leaks": checks.leaks(run, temporary, forgotten),
        "targets": {song: sorted(users) for song, users in found.targets.items()} if found and is_new else {},
    }
    if plan.killed_after:
        shutil.rmtree(temporary)  # as a system does when it starts
    elif left := sorted(path.name for path in temporary.iterdir()):
        problems.append(f"TMPDIR: expected nothing to be left. Received: {left[:5]}")
    problems += checks.broken(plan, ended, before, now, found, service, forgotten)
    return {**now, "problems": problems}


def _prepare(home: Path, plan: Night, service: Service) -> list[str]:
    """Writes the night's data, and does what comes before the run; returns what went wrong."""
    service.write(
        home / "data",
        plan.day,
        without="audio_tempo" if plan.what == COLUMN_GONE else None,
        cut_short=plan.what == BROKEN_FILE,
    )
    run = str(home / "run")
    if plan.what == FORGET:
        user = service.plays["user_id"][0].as_py()
        (home / "forget.txt").write_text(f"{user}\n")
        command = ["tfx_pipeline.forget", run, "--users", str(home / "forget.txt")]
    elif plan.what == ROLLBACK:
        command = ["tfx_pipeline.runs", "rollback", run]
    else:
        return []
    ended = processes.run(command, home / "temporary")
    return (
        [] if ended.exit_code == 0 else [f"{' '.join(command)}: exit code {ended.exit_code}. {ended.messages[-500:]}"]
    )


def _forgotten(home: Path) -> frozenset[str]:
    file = home / "forget.txt"
    return frozenset(file.read_text().split()) if file.exists() else frozenset()


def main(arguments: list[str]) -> int:
    """Runs the nights; returns 1 where something did not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.thirty_nights",
        description=(__doc__ or "").split("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nights", type=int, default=NIGHTS, help="nights to run (default: %(default)s)")
    parser.add_argument("--keep", type=int, default=5, help="runs and versions kept (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the service (default: %(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/thirty_nights"),
        help="folder for all that is written; nights that are in it are not run again (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    home = options.out.resolve()
    home.mkdir(parents=True, exist_ok=True)
    (home / "settings.json").write_text(json.dumps(SETTINGS, indent=1) + "\n")
    service, kept = Service.invent(options.seed), home / "nights.json"
    nights = json.loads(kept.read_text())["nights"] if kept.exists() else []
    for number in range(len(nights) + 1, options.nights + 1):
        nights.append(one_night(home, night(number), service, options.keep, nights[-1] if nights else None))
        found = {"nights": nights, "summary": summary(nights, service), "keep": options.keep, "listeners": LISTENERS}
        write_whole(kept, json.dumps(found, indent=1) + "\n")
        write_whole(home / "nights.md", report(found))
        draw(found, home / "nights.png")
        sys.stdout.write(f"{_line(nights[-1])}\n")
        sys.stdout.flush()
    sys.stdout.write(f"\n{(home / 'nights.md').read_text()}")
    return int(any(one["problems"] or one["leaks"] for one in nights))


def _line(one: dict[str, Any]) -> str:
    shown = f"{one['night']:>3}  {one['what']:<38}exit {one['exit_code']:>2}"
    shown += f"  {one['seconds']:6.1f} s  {one['cpu']:6.1f} s CPU"
    wrong = "; ".join([*one["problems"], *(f"id in {file}" for file in one["leaks"])])
    return f"{shown}  {one['disk']['all'] / 1e6:6.1f} MB  {wrong}".rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

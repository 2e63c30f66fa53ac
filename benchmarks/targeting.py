"""Which listeners to target for a song nobody has played: every rule on held-out songs, a simulated campaign, speed.

python -m benchmarks.targeting quality --data DIR [DIR ...] --groups basic clusters   recall and precision on test songs
python -m benchmarks.targeting choose --data DIR [DIR ...]      rules and weights on validation songs, the best of them
python -m benchmarks.targeting campaign --data DIR [DIR ...]    the same budget for each rule: effective plays, lift, p
python -m benchmarks.targeting cap --data DIR [DIR ...]         players found with and without the cap per listener
python -m benchmarks.targeting speed                            clustering, processes, ten times as many cold songs

DIR is a folder of the input contract, or the word `simulated`. Embeddings are a two-tower in closed form (see
`targeting_study/matching.py`), or with --embeddings those of a pipeline run, whose split is used then. Every part
prints Markdown and writes it and JSON to --out. Seeds draw the split, the decomposition, the songs where --songs
limits them, and the simulated catalogue.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.targeting_study import capping, findings, speed, tables, tested_rules
from benchmarks.targeting_study.counts import CUTOFFS, Judged, join
from benchmarks.targeting_study.datasets import read_data_set
from benchmarks.targeting_study.judging import Judge
from benchmarks.targeting_study.matching import closed_form, exported
from benchmarks.targeting_study.simulated import simulated
from tfx_pipeline.targeting import TargetingConfig

#: Plays from which one is effective: of an artist, one is nothing; where each play is its own row, all there is.
MIN_PLAYS = {"lastfm-2k": 10, "simulated": 2}


def main(arguments: list[str]) -> None:
    """Runs one part."""
    options = _parser().parse_args(arguments)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    if options.part == "speed":
        for part in options.measure:
            found = capping.speed() if part == "cap" else getattr(speed, part)()
            _save(options.out, f"speed-{part}", found, json.dumps({part: found}) + "\n")
        return
    for name in options.data:
        run = {"quality": _quality, "choose": _choose, "campaign": _campaign, "cap": _cap}[options.part]
        start = time.process_time()
        run(Path(name).name, name, options)
        sys.stderr.write(f"{options.part} {name}: {time.process_time() - start:.0f} s CPU\n")


def _quality(title: str, source: str, options: argparse.Namespace) -> None:
    judges = [judge for (judge,) in _judges(source, ("test",), options)]
    for group in options.groups:
        found = findings.quality(_judge(judges, tested_rules.GROUPS[group]()))
        table = tables.quality_table(f"{title}, {group}", found).markdown()
        _save(options.out, f"{tables.QUALITY}{title}-{group.replace(' ', '-')}", found, table)


def _choose(title: str, source: str, options: argparse.Namespace) -> None:
    found = findings.quality(_judge([judge for (judge,) in _judges(source, ("val",), options)], tested_rules.weights()))
    metric = f"recall@{options.budget}"
    order = sorted(found["rules"], key=lambda name: -found["rules"][name][metric].value)
    found["rules"] = {name: found["rules"][name] for name in order}
    _save(
        options.out,
        f"choose-{title}",
        found,
        tables.quality_table(f"{title}, validation songs, best first", found).markdown(),
    )


def _campaign(title: str, source: str, options: argparse.Namespace) -> None:
    parts, chosen = [], []
    for validation, test in _judges(source, ("val", "test"), options):
        chosen.append(validation.choose_weight(TargetingConfig()))
        rules = tested_rules.campaign(chosen[-1])
        parts.append(test.judge({name: rules[name] for name in options.rules or rules}))
    sys.stdout.write(f"{title}: weights of the count that validation songs chose, by seed: {chosen}\n\n")
    judged = join(parts)
    for budget in CUTOFFS:
        found = findings.campaign(judged, "count", budget)
        found["weights chosen, by seed"] = chosen
        _save(options.out, f"{tables.CAMPAIGN}{title}-{budget}", found, tables.campaign_table(title, found).markdown())


def _cap(title: str, source: str, options: argparse.Namespace) -> None:
    found: dict[int, tuple[list[capping.Campaign], list[capping.Campaign]]] = {}
    for validation, test in _judges(source, ("val", "test"), options):
        weight = validation.choose_weight(TargetingConfig())
        config = TargetingConfig(count_weight=weight, target_splits=("test",), cap=options.most)
        for size, free, with_cap in capping.campaigns(test, config, options.songs_per_run):
            for runs, run in zip(found.setdefault(size, ([], [])), (free, with_cap), strict=True):
                runs.append(run)
    kept = {size: [asdict(capping.total(runs)) for runs in both] for size, both in found.items()}
    _save(options.out, f"cap-{title}", kept, capping.table_of(title, found, options.most))


def _judge(judges: list[Judge], rules: Mapping[str, TargetingConfig]) -> Judged:
    return join([judge.judge(rules) for judge in judges])


def _judges(source: str, splits: Sequence[str], options: argparse.Namespace) -> Iterator[list[Judge]]:
    """The judges of these splits, for every seed."""
    data = None if source == "simulated" else read_data_set(Path(source))
    for seed in [0] if options.embeddings else range(options.seeds):
        chance: np.ndarray | None = None
        if source == "simulated":
            data, chance = simulated(seed)
        assert data is not None
        found = exported(data, options.embeddings) if options.embeddings else closed_form(data, seed)
        least = options.min_plays or MIN_PLAYS.get(data.name, 1)
        settings = {"songs": options.songs, "min_plays": least, "seed": seed, "chance": chance}
        yield [Judge(data, found, split, **settings) for split in splits]


def _save(out: Path | None, name: str, found: dict, shown: str) -> None:
    """Prints a finding, and with `out` keeps it as JSON and as shown."""
    sys.stdout.write(shown + "\n")
    sys.stdout.flush()
    if out:
        (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        (out / f"{name}.md").write_text(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = list(tested_rules.GROUPS)[:-1]
    parts = ["clustering", "processes", "growth", "cap"]
    parser.add_argument(
        "part", choices=("quality", "choose", "campaign", "cap", "speed"), help="what to find, see above"
    )
    parser.add_argument(
        "--data",
        nargs="+",
        default=["simulated"],
        help="folders of songs and plays, or the word simulated (default: simulated)",
    )
    parser.add_argument(
        "--groups",
        nargs="+",
        default=groups,
        choices=tested_rules.GROUPS,
        help="of quality: groups of rules to compare (default: %(default)s)",
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0 (default: %(default)s)")
    parser.add_argument("--songs", type=int, help="most songs judged per seed (default: all)")
    parser.add_argument(
        "--min-plays", type=int, help=f"number of plays from which one is effective (default: {MIN_PLAYS}, else 1)"
    )
    parser.add_argument(
        "--budget",
        type=int,
        default=100,
        choices=CUTOFFS,
        help="of choose: number of listeners per song (default: %(default)s)",
    )
    parser.add_argument(
        "--rules", nargs="+", help="of campaign: rules to compare, with `default` and `count` (default: all)"
    )
    parser.add_argument(
        "--songs-per-run",
        nargs="+",
        type=int,
        default=[10, 50, 200],
        help="of cap: numbers of new songs at once (default: %(default)s)",
    )
    parser.add_argument(
        "--most", type=int, default=5, help="of cap: most new songs per listener and run (default: %(default)s)"
    )
    parser.add_argument(
        "--embeddings",
        type=Path,
        help="folder with embeddings-*.parquet and matches-*.parquet (default: a closed form is fitted)",
    )
    parser.add_argument("--out", type=Path, help="folder for JSON and Markdown (default: printed only)")
    parser.add_argument("--measure", nargs="+", default=parts, help="of speed: what to measure (default: %(default)s)")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])

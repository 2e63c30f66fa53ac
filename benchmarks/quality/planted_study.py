"""Measure whether learning the correlation of fields pays where it must, if it ever does.

python -m benchmarks.quality.planted_study [--seeds 3] [--rounds 20]

Plants a catalogue of groups of fields, as it is and with groups that drift (see `benchmarks.quality.planted`),
and prints recall@50 of similar songs without contrast, with random groups, and with groups by correlation: learnt in
training or of the first batch, drawn or the most correlated ones.
"""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks.lines import say
from tfx_pipeline.runtime.keras_backend import use_tensorflow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
use_tensorflow()  # before Keras is imported


def main(arguments: list[str]) -> int:
    """Measures both catalogues."""
    from benchmarks.quality.planted import World, measure

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.planted_study", description=(__doc__ or "").split("\n\n")[2]
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of catalogues (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="most rounds of 100 steps (default: %(default)s)")
    options = parser.parse_args(arguments)
    for world in (World(), World(periods=4)):
        found = measure(world, options.seeds, options.rounds, say)
        for name, recalls in found.items():
            whole, bare = (sum(each) / len(recalls) for each in zip(*recalls, strict=True))
            say(f"{world.periods} periods: {name:16} R@50 {whole:.3f}, fields withheld {bare:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a finished targeting run found, in words."""

from __future__ import annotations

from collections import Counter

from tfx_pipeline.targeting.data.sinks import read_marker, read_summary


def run_summary(output: str) -> str:
    """Returns how many songs have which status, how many targets there are, and the counts of the run.

    Args:
        output: Folder of the result.
    """
    counts, summary = read_marker(output)["counts"], read_summary(output)
    statuses = Counter(summary["status"].to_pylist())
    targets = sum(summary["targets"].to_pylist())
    lines = [f"{counts.get('cold_songs', 0)} cold songs in, {targets} targets out, written to {output}"]
    lines += [f"  {number} songs: {status}" for status, number in sorted(statuses.items())]
    lines += [f"  {name.replace('_', ' ')}: {value}" for name, value in counts.items()]
    if counts.get("exclusions_of_unknown_listeners") and not counts.get("listeners_excluded"):
        lines.append(
            "  note: no listener excluded from every song has plays here. Are the exclusions of these listeners?"
        )
    return "\n".join(lines) + "\n"

"""The demo's answers in plain words: matches and listeners of new songs, and how good they are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from serving.client import Client, is_song
from serving.savedmodel.publish import latest_version
from tfx_pipeline import contract
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.splits import NEW, TEST, VALIDATION
from tfx_pipeline.contract.text import on_one_line
from tfx_pipeline.evaluation.component import REPORT
from tfx_pipeline.gates.serving_validator import REASON
from tfx_pipeline.history.run_record import RunRecord
from tfx_pipeline.outputs.publishing import last_published
from tfx_pipeline.outputs.schemas import PAGE as PUBLISHED_PAGE
from tfx_pipeline.outputs.schemas import TARGETS
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.targeting import read_summary, read_targets
from tfx_pipeline.tfx_extensions.artifacts import PAGE, SERVED

_REASONS = 3
_CONSIDERED = 1000
#: The word for a song of each split.
_TITLES = {
    NEW: "New song",
    **dict.fromkeys((VALIDATION, TEST), "Song held out for this demonstration, as the data has no new ones"),
}


@dataclass(frozen=True)
class DemoReport:
    """The results of a run, for the terminal.

    Attributes:
        folder: The run's folder.
        catalogue: The checked input.
        evaluation: The evaluator's report.
        page: The page of the run.
        targets: Folder of the target listeners.
        served: Folder of the pushed model, None if none was pushed.
        serving_problem: Why the validation on a server failed; None where it passed.
    """

    folder: RunFolder
    catalogue: contract.Catalogue
    evaluation: dict[str, Any]
    page: Path
    targets: Path
    served: Path | None
    serving_problem: str | None

    @classmethod
    def read(cls, record: RunRecord, folder: RunFolder) -> DemoReport:
        """Reads the outputs of a run."""
        evaluation = _read_json(record.uri("RetrievalEvaluator", "evaluation") / REPORT)
        if ("ServedModelChecker", "blessing") in record.outputs:
            checked = _read_json(record.uri("ServedModelChecker", "blessing") / SERVED)
            evaluation["refused_because"] += checked["refused_because"]
        refusal = record.uri("ServingValidator", "blessing") / REASON
        pushed = record.number("Pusher", "pushed_model", "pushed")
        return cls(
            folder,
            contract.load_prepared(folder.input),
            evaluation,
            record.uri("RunPage", "page") / PAGE,
            record.uri("AudienceTargeter", "targets"),
            # The latest version: an earlier run may have pushed this model, and a refresh may have replaced it.
            Path(latest_version(str(folder.serving))[1]) if pushed else None,
            refusal.read_text(encoding="utf-8") if refusal.exists() else None,
        )

    def songs(self, target: str, num_songs: int, num_matches: int, num_listeners: int) -> Iterator[str]:
        """Asks the server at `target` for matches and yields the lines about some new songs."""
        titles = self._titles()
        # Without a time limit: on a busy machine a server answers slowly.
        with Client(target, timeout=None) as client:
            for song_id, split in self._chosen(num_songs):
                song = self._songs([song_id])[song_id]
                (ids,), (scores,) = client.match([song], k=num_matches, ignore=self.catalogue.display)
                name = f"{on_one_line(titles.get(song_id, song_id))} ({self._in_words(song)})"
                yield f"\n{_TITLES[split]}: {name}"
                yield f"  {'similar songs':<44}score"
                found = [match for match in zip(ids, scores, strict=True) if is_song(match[0])]
                for place, (match, score) in enumerate(found, 1):
                    yield f"  {place:>3}. {on_one_line(titles.get(match, match), 36):<38}{score:6.3f}"
                yield f"  {'target listeners':<44}score  because they play"
                for row in read_targets(str(self.targets), [song_id]).slice(0, num_listeners).to_pylist():
                    reasons = (titles.get(reason, reason) for reason in row["reason_song_ids"][:_REASONS])
                    user = f"user {on_one_line(row[USER_ID])}"
                    yield f"  {row['rank']:>3}. {user:<38}{row['score']:6.3f}  {', '.join(map(on_one_line, reasons))}"

    def table(self) -> str:
        """Returns a table of how good the matches are, compared with rows that need no training."""
        settings = self.evaluation["settings"]
        if TEST not in self.evaluation:
            return "\nNo cold test song shares a listener with a warm song: nothing to judge."
        report, k = self.evaluation[TEST], settings["k"]
        metrics = {f"Recall@{k}": f"recall@{k}", f"NDCG@{k}": f"ndcg@{k}"}
        width = max(16, *map(len, report["rows"])) + 2
        lines = [
            f"\nHow good: {report['songs']:,} cold test songs, {report['candidates']:,} songs ranked for each; right "
            f"are the {settings['truth']} with the most similar audience (95 % intervals)",
            f"  {'':<{width}}" + "".join(f"{title:<22}" for title in metrics),
        ]
        for name, values in report["rows"].items():
            cells = [values[metric] for metric in metrics.values()]
            numbers = "".join(f"{c['mean']:.3f} [{c['low']:.3f}, {c['high']:.3f}]  " for c in cells)
            lines.append(f"  {name:<{width}}{numbers}")
        return "\n".join(lines)

    def refused_because(self) -> list[str]:
        """Returns why no model was pushed."""
        problem = [] if self.serving_problem is None else [f"when it was served: {self.serving_problem}"]
        return [*self.evaluation["refused_because"], *problem]

    def places(self) -> str:
        """Returns the paths of the results."""
        last = last_published(self.folder)
        results = self.folder.latest if self.served or last is None else last[0]
        places = {
            "Model": self.served or "none pushed",
            "Targets": results / TARGETS.file if self.served else "none, as no model was pushed",
            "Report": results / PUBLISHED_PAGE,
            "Results": results,
            "Log": self.folder.log,
        }
        return "\n" + "\n".join(f"{name + ':':<9}{place}" for name, place in places.items())

    def _titles(self) -> dict[str, str]:
        names = pq.read_schema(self.folder.input / contract.SONGS).names
        if "title" not in names:
            return {}
        table = pq.read_table(self.folder.input / contract.SONGS, columns=[SONG_ID, "title"])
        return {row[SONG_ID]: row["title"] for row in table.to_pylist() if row["title"]}

    def _chosen(self, count: int) -> list[tuple[str, str]]:
        """Returns id and split of songs with targets: new songs, or held-out ones where there is no new song.

        Songs with large audiences come first, because they are the easiest to recognise. Songs of different kinds take
        turns; a song's kind is its first word.
        """
        rows = [row for row in read_summary(str(self.targets)).to_pylist() if row["targets"]]
        new = [row for row in rows if row["split"] == NEW] or rows
        ranked = sorted(new, key=lambda row: (-row["audience"], row[SONG_ID]))[:_CONSIDERED]
        songs = self._songs([row[SONG_ID] for row in ranked])
        kinds: dict[str, list[tuple[str, str]]] = {}
        for row in ranked:
            kind = self._in_words(songs[row[SONG_ID]]).split("; ")[0].split(", ")[0]
            kinds.setdefault(kind, []).append((row[SONG_ID], row["split"]))
        in_turn = itertools.chain.from_iterable(itertools.zip_longest(*kinds.values()))
        return [song for song in in_turn if song is not None][:count]

    def _songs(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        table: pa.Table = pq.read_table(self.folder.input / contract.SONGS, filters=[(SONG_ID, "in", ids)])
        return {song[SONG_ID]: song for song in table.to_pylist()}

    def _in_words(self, song: dict[str, Any]) -> str:
        words = []
        for field in self.catalogue.fields:
            value = song[field.name]
            if value and field.is_categorical:
                shown = value if isinstance(value, str) else ", ".join(value[:3])
                words.append(f"{field.name.split('_', 1)[1]}: {on_one_line(shown)}")
        return "; ".join(words[:3]) or "no tags"


def _read_json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))

"""Counts what training and evaluation need, before they start.

Training stops without
- a warm song: it has at least `split.min_listeners` distinct listeners and is not held out,
- a validation song: it has as many listeners and is held out to choose settings,
- two warm songs that share listeners more than `audience.min_lift` times as often as by chance.
Without test songs or with few validation songs it runs, but its results mean little. A note says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfx_pipeline.contract.errors import ContractError, broken
from tfx_pipeline.contract.splits import NEW, TEST, VALIDATION, WARM, ColdSplit, unit_hash
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.contract.training.listening import Listening
from tfx_pipeline.contract.training.pairs import Pairs, count_pairs
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.models.config import TransformConfig
from tfx_pipeline.runtime.settings_codec import to_json, with_changes
from tfx_pipeline.runtime.settings_file import read_object

_FEW_JUDGED = 20


@dataclass(frozen=True)
class TrainingNeeds:
    """The settings of the pipeline that say what it can learn from and judge by; the defaults are its own."""

    split: ColdSplit = field(default_factory=ColdSplit)
    audience: AudienceConfig = field(default_factory=AudienceConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    transform: TransformConfig = field(default_factory=TransformConfig)

    @classmethod
    def read(cls, settings: Path) -> TrainingNeeds:
        """Returns what a file of the settings says of them. `config.read_settings` checks the other settings.

        Raises:
            SettingsError: The file is no JSON object, or a section has a setting or a value that it cannot have.
        """
        needs = cls()
        given = {name: section for name, section in read_object(settings).items() if name in vars(needs)}
        return with_changes(needs, given, str(settings))

    def key(self) -> str:
        """Returns the settings as text, the same for the same settings."""
        return to_json(self)


@dataclass(frozen=True)
class Counts:
    """What plays offer to training.

    Attributes:
        songs: Number of songs by split.
        pairs: What the songs of these splits share.
        is_whole: Whether pairs were counted over all users.
        most_listeners: Largest number of listeners of a song, as far as listeners were counted.
    """

    songs: dict[str, int]
    pairs: Pairs
    is_whole: bool
    most_listeners: int


class TrainingCheck:
    """Counts what training needs while plays are read, and reports what is missing.

    Args:
        needs: The settings.
        song_ids: Every song.
        file: The file of plays to name.

    Attributes:
        needs: The settings.
    """

    def __init__(self, needs: TrainingNeeds, song_ids: pa.Array, file: Location):
        self.needs = needs
        self._file = file
        self._listening = Listening(song_ids, needs.split.min_listeners)

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yields the batches of plays of known songs unchanged, and counts them."""
        for batch in batches:
            self._listening.add(batch)
            yield batch

    def finish(self) -> tuple[int, tuple[str, ...]]:
        """Returns the number of new songs, and notes with all counts and what evaluation will lack.

        Raises:
            ContractError: Training would find no songs to learn from.
        """
        counts = self._count(self.needs)
        missing = _missing(counts, self.needs)
        if missing and (counts.is_whole or missing != "pairs"):
            raise self._refusal(missing, counts)
        return counts.songs[NEW], _notes(counts, self.needs, missing)

    def _count(self, needs: TrainingNeeds) -> Counts:
        listeners, ids = self._listening.listeners, self._listening.song_ids
        splits = np.full(len(ids), NEW, object)
        enough = np.flatnonzero(listeners >= needs.split.min_listeners)
        splits[enough] = [
            needs.split.assign(song.encode(), needs.split.min_listeners)
            for song in ids.take(pa.array(enough)).to_pylist()
        ]
        songs = {split: int((splits == split).sum()) for split in (WARM, VALIDATION, TEST, NEW)}
        pairs = count_pairs(*self._listening.plays(), splits, needs.audience)
        is_whole = self._listening.is_whole and pairs.is_whole
        return Counts(songs, pairs, is_whole, int(listeners.max(initial=0)))

    def _refusal(self, missing: str, counts: Counts) -> ContractError:
        split, warm = self.needs.split, counts.songs[WARM]
        least = f"{split.min_listeners} listeners (`split.min_listeners`)"
        if missing == "warm":
            expected = f"songs with at least {least}, to learn from"
            received = f"none; the most heard song has {counts.most_listeners}"
            if enough := counts.songs[VALIDATION] + counts.songs[TEST]:
                received = f"{enough}, all of them held out as validation or test songs"
        elif missing == "validation":
            expected = f"validation songs (`split.validation_share` {split.validation_share}) with at least {least}"
            received = f"none beside {warm} warm songs and {counts.songs[TEST]} test songs"
        else:
            expected = "warm songs that share listeners more often than by chance, to learn from"
            received = f"none: no two of {warm} warm songs share a listener"
            if counts.pairs.strongest:
                least_lift = f"over {self.needs.audience.min_lift:g} (`audience.min_lift`)"
                expected = f"warm songs that are heard together {least_lift} times as often as by chance"
                received = f"at most {counts.pairs.strongest:.3g} times, among {warm} warm songs"
        return broken(self._file, expected, received, remedy=self._remedy())

    def _remedy(self) -> str:
        """Returns a sentence with the smallest change of one setting that would let training run."""
        for name, value, needs in _changes(self.needs, self._draws()):
            counts = self._count(needs)
            if not _missing(counts, needs):
                return f"With `{name}` of {value:g} there are {counts.songs[WARM]} warm songs to learn from."
        return "No single setting helps. Similar songs need several listeners who each play several songs."

    def _draws(self) -> list[float]:
        """Returns the draws that split the songs with enough listeners."""
        enough = pa.array(np.flatnonzero(self._listening.listeners >= self.needs.split.min_listeners))
        songs = self._listening.song_ids.take(enough).to_pylist()
        return [unit_hash(song.encode(), self.needs.split.salt_in_use) for song in songs]


def _changes(needs: TrainingNeeds, draws: list[float]) -> Iterator[tuple[str, float, TrainingNeeds]]:
    """Yields changes of one setting each: its name, its value, and all settings."""
    split, audience = needs.split, needs.audience
    if audience.min_lift > 1:
        yield "audience.min_lift", 1.0, replace(needs, audience=replace(audience, min_lift=1.0))
    if draws:
        share = np.ceil(min(draws) * 100 + 1) / 100
        if split.validation_share < share < 0.5 and share + split.test_share < 1:
            changed = replace(split, validation_share=float(share))
            yield "split.validation_share", float(share), replace(needs, split=changed)
    for least in range(split.min_listeners - 1, 0, -1):
        yield "split.min_listeners", least, replace(needs, split=replace(split, min_listeners=least))


def _missing(counts: Counts, needs: TrainingNeeds) -> str:
    """Returns the first missing thing without which training stops; an empty string if there is none."""
    if not counts.songs[WARM]:
        return "warm"
    if not counts.songs[VALIDATION]:
        return "validation"
    return "" if counts.pairs.linked else "pairs"


def _notes(counts: Counts, needs: TrainingNeeds, missing: str) -> tuple[str, ...]:
    songs, pairs = counts.songs, counts.pairs
    sample = "" if counts.is_whole else f" in a sample of {pairs.users:,} listeners"
    notes = [
        f"To learn from: {songs[WARM]:,} warm songs, {pairs.linked:,} of them with similar songs{sample}. "
        f"To judge by: {songs[VALIDATION]:,} validation songs and {songs[TEST]:,} test songs. "
        f"New: {songs[NEW]:,} songs of fewer than {needs.split.min_listeners} listeners."
    ]
    if missing:
        notes.append(f"No two warm songs share listeners more often than by chance{sample}: training may stop.")
    if not pairs.judged[VALIDATION]:
        notes.append(f"No validation song shares a listener with a warm song{sample}: without one, no model is pushed.")
    elif songs[VALIDATION] < _FEW_JUDGED:
        share = needs.split.validation_share
        notes.append(
            f"Only {songs[VALIDATION]} validation songs decide whether a model is pushed, so chance matters much. "
            f"More plays, or a larger `split.validation_share` (now {share:g}), give more."
        )
    if songs[WARM] <= needs.evaluation.k:
        notes.append(
            f"Recall at {needs.evaluation.k} among {songs[WARM]} warm songs is 1 for every model, so no model can beat "
            f"content cosine. Set `evaluation.k` far below their number, for instance to {max(1, songs[WARM] // 4)}."
        )
    if not pairs.judged[TEST]:
        notes.append(
            f"No test song shares a listener with a warm song{sample}: the report has no test results "
            f"(`split.test_share` is {needs.split.test_share:g})."
        )
    return tuple(notes)

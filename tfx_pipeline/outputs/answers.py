"""Answers about one song: its matches and its listeners, with scores and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.schemas import CHANCES
from tfx_pipeline.contract.text import quoted
from tfx_pipeline.outputs.in_common import CatalogueRows, in_common, title_of
from tfx_pipeline.outputs.reading import OutputsError, PublishedRun, refreshes_of
from tfx_pipeline.outputs.schemas import EMBEDDINGS, MATCHES, RELIABILITY, SONGS_SUMMARY, TARGETS
from tfx_pipeline.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Match:
    """A similar song.

    Attributes:
        in_common: The values that it shares with the song, by field.
        shares: What each part of the song contributes to the score, by name; empty where it is unknown.
        chance: How likely it is among the 20 songs of most similar audience; None where no chance was fitted.
        chance_low: Lower bound of its 95 % interval.
        chance_high: Upper bound.
    """

    rank: int
    song_id: str
    title: str | None
    score: float
    in_common: dict[str, list[Any]]
    shares: dict[str, float] = field(default_factory=dict)
    chance: float | None = None
    chance_low: float | None = None
    chance_high: float | None = None


@dataclass(frozen=True)
class Listener:
    """A target listener; `plays` are the matches that they play, as (id, title, score)."""

    rank: int
    user_id: str
    score: float
    group: str
    plays: list[tuple[str, str | None, float]]


@dataclass(frozen=True)
class Answer:
    """What is known of one song.

    Attributes:
        run_id: The run whose outputs were read; None where the model alone was asked.
        model_version: Of the model that gave the matches.
        reliability: The recall to expect of the matches, from 0 to 1; None where it is unknown.
        note: Why there are no listeners; "" where there are some.
    """

    song_id: str | None
    title: str | None
    split: str | None
    run_id: str | None
    model_version: str
    matches: list[Match] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    note: str = ""
    reliability: float | None = None


def about_song(run: Path, song_id: str, num_matches: int, num_listeners: int) -> Answer:
    """Returns what the latest run published about a song of its catalogue, or a refresh about a song that it added.

    A warm song is in the index and gets neither matches nor listeners from a run: the model is asked for its matches.

    Raises:
        OutputsError: If nothing was published, or the song is not in the run.
    """
    published = _published_about(run, song_id)
    known = published.rows(EMBEDDINGS, song_id, [SONG_ID, "split"])
    found = published.rows(MATCHES, song_id)
    if not found:
        return _about_warm_song(run, published, song_id, known[0]["split"], num_matches)
    (row,) = found
    ids, titles = row["match_ids"][:num_matches], dict(zip(row["match_ids"], row["match_titles"], strict=True))
    catalogue = CatalogueRows.open(RunFolder.at(run).input)
    rows = catalogue.of([song_id, *ids])
    listeners = published.rows(TARGETS, song_id)
    listeners.sort(key=lambda listener: listener["rank"])
    return Answer(
        song_id=song_id,
        title=row["title"],
        split=row["split"],
        run_id=published.run_id,
        model_version=published.manifest["model"]["version"],
        matches=_with_chances(
            _matches(rows.get(song_id, {}), ids, row["match_scores"], titles, rows, catalogue.fields, _shares(row)),
            [row[column] for column in CHANCES if row.get(column) is not None],
        ),
        reliability=row.get(RELIABILITY),  # runs that published before there was one lack it
        listeners=[_listener(listener, titles) for listener in listeners[:num_listeners]],
        note="" if listeners else _why_none(published, song_id, row["split"], is_known=bool(row["match_ids"])),
    )


def _published_about(run: Path, song_id: str) -> PublishedRun:
    """Returns what was published last about a song, by a refresh since the last push or by the last run."""
    latest = PublishedRun.latest(run)
    for published in (*map(PublishedRun.at, refreshes_of(run, latest)), latest):
        if published.rows(EMBEDDINGS, song_id, [SONG_ID]):
            return published
    raise OutputsError(
        f"--song: expected the id of a song of run {latest.run_id} in {run}. Received: {quoted(song_id)}"
    )


def about_new_song(run: Path, song: Mapping[str, Any], num_matches: int) -> Answer:
    """Returns the matches of a song that need not be in the catalogue, by the model that is served.

    Raises:
        ValueError: If no model was pushed, or the song does not fit its fields.
    """
    from tfx_pipeline.outputs.served_model import matches_of

    folder = RunFolder.at(run)
    catalogue = CatalogueRows.open(folder.input)
    served = matches_of(folder, song, num_matches)
    is_known = served.known_fields != 0  # else the scores say nothing about this song
    ids, scores = (served.ids, served.scores) if is_known else ([], [])
    rows = catalogue.of(ids)
    titles = {match: title_of(rows.get(match, {})) for match in ids}
    matches = _matches(song, ids, scores, titles, rows, catalogue.fields, served.shares)
    matches = _with_chances(matches, served.chances)
    note = "Listeners are found by a run, for new songs of its catalogue. Add the song to the data and run again."
    if not is_known:
        note = f"No matches: the model knows no value of this song. {note}"
    song_id = song.get(SONG_ID)
    return Answer(
        None if song_id is None else str(song_id), title_of(song), None, None, served.version, matches, note=note
    )


def _about_warm_song(run: Path, published: PublishedRun, song_id: str, split: str, num_matches: int) -> Answer:
    from tfx_pipeline.outputs.served_model import song_of_input

    song = song_of_input(RunFolder.at(run), song_id)
    if song is None:
        raise OutputsError(
            f"{run}: expected a song of the data as it was read last. Received: {quoted(song_id)}, which is in run "
            f"{published.run_id} and no longer in the data."
        )
    answer = about_new_song(run, song, num_matches)
    note = "Warm: the song has listeners of its own and is in the index. Runs find listeners for new songs."
    return replace(answer, split=split, note=note if answer.matches else answer.note)


def _matches(
    song: Mapping[str, Any],
    ids: Sequence[str],
    scores: Sequence[float],
    titles: Mapping[str, str | None],
    rows: Mapping[str, Mapping[str, Any]],
    fields: Sequence[str],
    shares: Mapping[str, dict[str, float]],
) -> list[Match]:
    return [
        Match(rank, match, titles[match], score, in_common(song, rows.get(match, {}), fields), shares.get(match, {}))
        for rank, (match, score) in enumerate(zip(ids, scores, strict=False), 1)
    ]


def _with_chances(matches: list[Match], chances: Sequence[Sequence[float]]) -> list[Match]:
    """Returns the matches with their chances and the two bounds; as they are where there are none."""
    if not chances:
        return matches
    return [
        replace(match, chance=chance, chance_low=low, chance_high=high)
        for match, (chance, low, high) in zip(matches, zip(*chances, strict=True), strict=False)
    ]


def _shares(row: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Returns the shares of a published row, by match and name; nothing where the row has none."""
    names, shares = row.get("share_names"), row.get("match_shares")
    if names is None or shares is None:
        return {}
    return {
        match: dict(zip(names, of_match, strict=True)) for match, of_match in zip(row["match_ids"], shares, strict=True)
    }


def _listener(row: Mapping[str, Any], titles: Mapping[str, str | None]) -> Listener:
    plays = [
        (song, titles.get(song), score)
        for song, score in zip(row["reason_song_ids"], row["reason_scores"], strict=True)
    ]
    return Listener(row["rank"], row[USER_ID], row["score"], row["group"], plays)


def _why_none(published: PublishedRun, song_id: str, split: str, *, is_known: bool) -> str:
    if not is_known:
        return "No matches and no listeners: the model knows no value of this song."
    summary = published.rows(SONGS_SUMMARY, song_id, ["status"])
    if summary:
        return f"No listeners: {summary[0]['status']}."
    return f"No listeners: the run sought none for songs of split `{split}` (setting targeting.target_splits)."

"""One refresh of a served index: the request, the next version, and lines about it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.protocol.errors import RequestError
from serving.refresh.index import Changes, refreshed_index
from serving.refresh.old_versions import old_versions, remove_old_versions
from serving.refresh.saved_version import SavedVersion, write_version
from serving.refresh.takedown import record_taken_down, taken_down
from serving.savedmodel.publish import latest_version, next_version
from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.id_lists import IdList
from tfx_pipeline.contract.stores.location import Location
from tfx_pipeline.index_refresh.new_songs import NewSongs

if TYPE_CHECKING:  # they import Beam, which a refresh without targets does not need
    from tfx_pipeline.index_refresh.targets import Rules
    from tfx_pipeline.outputs.refreshed import Found

_NAMED = 10  # songs that a message names


@dataclass(frozen=True)
class Refresh:
    """A request for a refresh.

    Attributes:
        base: Folder of the model's versions.
        songs: File of songs to add; None for none.
        drop: Ids to take down; None for none.
        restore: Ids taken down that may come back; None for none.
        is_catalogue: Whether `songs` is the whole catalogue, so that other songs are dropped.
        ignore_missing: Whether the lists may hold unknown ids.
        max_dropped: The largest share of the index that a catalogue may drop.
        rules: Rules for the targets of added songs; None for no targets.
        keep_versions: How many of the latest versions stay afterwards; None for all.
        model_config_file: The server's configuration file, which says what it may serve; None for none.
        names: How `songs` calls its columns.
    """

    base: str
    songs: Location | None
    drop: IdList | None
    restore: IdList | None
    is_catalogue: bool
    ignore_missing: bool
    max_dropped: float
    rules: Rules | None = None
    keep_versions: int | None = None
    model_config_file: Path | None = None
    names: Names = PLAIN

    def publish(self) -> list[str]:
        """Publishes the next version, if anything changes, and the targets; returns lines about it."""
        if self.keep_versions is not None:
            # What cannot be used is found before anything is published.
            latest_version(self.base)
            old_versions(self.base, self.keep_versions, self.model_config_file)
        try:
            lines = self._publish()
        except BaseException:
            self._settle()
            raise
        return lines if self.keep_versions is None else [*lines, self._removed(self.keep_versions)]

    def _removed(self, keep: int) -> str:
        """Removes old versions, and returns the line about it. What was published stands in any case."""
        try:
            gone = remove_old_versions(self.base, keep, self.model_config_file)
        except (ValueError, RequestError, OSError) as error:
            return f"old versions are still there: {error}"
        return f"versions removed: {', '.join(map(str, gone)) or 'none'}"

    def _publish(self) -> list[str]:
        lines: list[str] = []
        found: Found | None = None
        with next_version(self.base) as publication:
            self._settle()
            gone = self._restored()
            with SavedVersion(publication.latest) as version:
                songs = self._open_songs(version, lines)
                gone = self._dropped(version, songs, gone, lines)
                index, changes = refreshed_index(
                    version, songs or (), drop=gone, is_catalogue=self.is_catalogue, max_dropped=self.max_dropped
                )
                if self.rules is not None and songs is not None and changes.added:
                    from tfx_pipeline.index_refresh.targets import find

                    found = find(self.rules, version, index, songs, changes.added, gone)
            if changes:
                write_version(publication.latest, publication.staging, index)
            # Before the version appears, so that a stop in between brings no song back.
            record_taken_down(self.base, gone)
        lines += _of_changes(changes, publication.published)
        if found is not None:
            lines += _of_targets(found, found.publish())
        elif self.rules is not None:
            lines.append("targets: none, as no song was added")
        return lines

    def _settle(self) -> None:
        """Finishes or removes the tables of a refresh that was stopped."""
        if self.rules is not None:
            from tfx_pipeline.outputs.refreshed import settle

            settle(self.rules.folder)

    def _restored(self) -> frozenset[str]:
        """Returns the songs that stay taken down."""
        gone = taken_down(self.base)
        if not self.restore:
            return gone
        return gone - self.restore.meant(gone, "songs that were taken down", ignore_missing=self.ignore_missing)

    def _open_songs(self, version: SavedVersion, lines: list[str]) -> NewSongs | None:
        if self.songs is None:
            return None
        integers = version.index.has_integer_ids
        songs = NewSongs(self.songs, version.fields, integer_ids=integers, names=self.names)
        if songs.passed_over:
            lines.append(f"not read, because the model was trained without them: {', '.join(songs.passed_over)}")
        return songs

    def _dropped(
        self, version: SavedVersion, songs: NewSongs | None, gone: frozenset[str], lines: list[str]
    ) -> frozenset[str]:
        """Returns all songs that are taken down, now or before."""
        given = frozenset(songs.ids()) if songs else frozenset()
        if self.drop:
            indexed = frozenset(version.index.names())
            known = "the index, of --songs or of songs taken down before"
            dropped = self.drop.meant(gone | given | indexed, known, ignore_missing=self.ignore_missing)
            if away := dropped - indexed - gone:
                lines.append(f"not in the index, and kept out of later versions: {len(away):,} ({_first(away)})")
            gone |= dropped
        if left_out := given & gone:
            lines.append(f"not added, because they were taken down: {len(left_out):,} of --songs ({_first(left_out)})")
        return gone


def _of_changes(changes: Changes, published: str | None) -> list[str]:
    counts = f"added {len(changes.added):,}, dropped {len(changes.dropped):,}, kept {changes.kept:,}"
    lines = [f"{counts}: {published or 'nothing to publish'}"]
    if changes.unknown:
        named = _first(changes.unknown, in_order=True)
        lines.append(f"added, but the model knows no value of them: {len(changes.unknown):,} songs ({named})")
    return lines


def _of_targets(found: Found, out: Path) -> list[str]:
    songs = sum(found.statuses.values())
    lines = [f"targets: {found.listeners:,} listeners for {found.statuses['targeted']:,} of {songs:,} songs: {out}"]
    others = sorted(status for status in found.statuses if status != "targeted")
    return lines + [f"  {found.statuses[status]:,} songs without: {status}" for status in others]


def _first(ids: Collection[str], *, in_order: bool = False) -> str:
    named = list(ids) if in_order else sorted(ids)
    return ", ".join(named[:_NAMED]) + (", ..." if len(named) > _NAMED else "")

"""Publishes the matches and targets of the songs that a refresh added.

RUN/refreshed/<version>/   targets, matches, embeddings and songs_summary as `schemas` has them, and manifest.json

The folder is written whole under another name, and renamed once the version is published. If a refresh is killed
between the two, the next one renames it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from serving.files.whole_files import put_folder, sync_tree
from serving.savedmodel.versions import scan
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.outputs.code_version import code_version
from tfx_pipeline.outputs.merging import write_table
from tfx_pipeline.outputs.publishing import reliability_column
from tfx_pipeline.outputs.reading import PublishedRun, refreshes_of
from tfx_pipeline.outputs.schemas import EMBEDDINGS, MANIFEST, MATCHES, SCHEMA_VERSION, TABLES
from tfx_pipeline.outputs.titles import Titles
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.data.sinks import part_files
from tfx_pipeline.targeting.rules.score_range import about_scores

_ASIDE, _WORK = ".{}.writing", "work"


@dataclass
class Found:
    """The tables of a refresh while they are written.

    Attributes:
        folder: Folder of the run.
        version: Number of the version that will have the songs.
        aside: The folder before it is renamed.
        statuses: Number of songs by status.
        listeners: Number of rows of targets.
    """

    folder: RunFolder
    version: int
    aside: Path
    statuses: Counter[str] = field(default_factory=Counter)
    listeners: int = 0

    @classmethod
    def begin(cls, folder: RunFolder, latest: str) -> Found:
        """Makes an empty folder for the version after `latest`, beside its final place."""
        version = int(os.path.basename(latest)) + 1
        aside = folder.refreshed / _ASIDE.format(version)
        shutil.rmtree(aside, ignore_errors=True)
        (aside / _WORK).mkdir(parents=True)
        return cls(folder, version, aside)

    @property
    def catalogue(self) -> Path:
        """The file of all songs that the targeting reads."""
        return self.aside / _WORK / "catalogue.parquet"

    @property
    def exclusions(self) -> Path:
        """Exclusions as Parquet, where they were given in another format."""
        return self.aside / _WORK / "exclusions.parquet"

    @property
    def targets(self) -> Path:
        """The folder that the targeting writes."""
        return self.aside / _WORK / "targets"

    def part(self, name: str) -> Path:
        """Returns the file of a table before it is published."""
        return self.aside / _WORK / f"{name}.parquet"

    def finish(
        self, published: PublishedRun, config: TargetingConfig, titles: Titles, *, statuses: Sequence[str]
    ) -> None:
        """Writes the tables and the manifest, and clears away what they were made from."""
        parts = {
            "matches": (self.part("matches"),),
            "embeddings": (self.part("embeddings"),),
            "targets": tuple(map(Path, part_files(str(self.targets), "targets"))),
            "songs_summary": tuple(map(Path, part_files(str(self.targets), "summary"))),
        }
        computed = {MATCHES.name: [reliability_column(published.manifest.get("reliability"))]}
        rows = {
            table.name: write_table(
                table, parts[table.name], self.aside / table.file, titles, computed.get(table.name, ())
            )
            for table in TABLES
        }
        self.statuses, self.listeners = Counter(statuses), rows["targets"]
        shutil.rmtree(self.aside / _WORK)
        manifest: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": published.run_id,
            "refreshed": True,
            "model": {"version": str(self.version)},
            "code": code_version(),
            "counts": {"rows": rows, "songs_by_status": dict(sorted(self.statuses.items()))},
            "targeting": about_scores(config),
            "settings": {"targeting": asdict(config)},
        }
        (self.aside / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        sync_tree(self.aside)

    def publish(self) -> Path:
        """Renames the folder to its final name, and removes the folders of refreshes before the last push."""
        out = self.folder.refreshed / str(self.version)
        _rename(self.aside, out)
        for older in _superseded(self.folder):
            shutil.rmtree(older, ignore_errors=True)
        return out


def settle(folder: RunFolder) -> None:
    """Finishes what a killed refresh left: renames it if its version was published, else removes it.

    The caller holds the folder of the run and the right to publish.
    """
    for aside in folder.refreshed.glob(_ASIDE.format("*")):
        number = aside.name.split(".")[1]
        if (aside / MANIFEST).is_file() and number.isdecimal() and _has_songs(folder, int(number), aside):
            _rename(aside, folder.refreshed / number)
        else:
            shutil.rmtree(aside, ignore_errors=True)
    with suppress(OSError):
        folder.refreshed.rmdir()  # where nothing is in it


def _has_songs(folder: RunFolder, number: int, aside: Path) -> bool:
    from serving.refresh.saved_version import read_index

    version = scan(str(folder.serving)).get(number)
    if version is None:
        return False
    songs = pq.ParquetFile(aside / EMBEDDINGS.file).read(columns=[SONG_ID], use_threads=False)[SONG_ID].to_pylist()
    return set(songs) <= set(read_index(version).names())


def _superseded(folder: RunFolder) -> list[Path]:
    """Returns the folders of refreshes of models before the one that the last run pushed."""
    current = refreshes_of(folder.home, PublishedRun.latest(folder.home))
    return [path for path in folder.refreshed.glob("*") if path.name.isdecimal() and path not in current]


def _rename(aside: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)  # of an earlier version of this number
    put_folder(aside, out)

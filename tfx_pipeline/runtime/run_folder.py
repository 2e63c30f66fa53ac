"""The folder of runs on one machine, and the places of files in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.files.folder_lock import FolderError, only_process_in

#: Characters of patterns. TFX puts the folder unescaped into the patterns that TensorFlow and Beam find files with.
_OF_PATTERNS = "*?[\\"


@dataclass(frozen=True)
class RunFolder:
    """The folders and files below `home`, which is made absolute: TFX records paths."""

    home: Path

    @classmethod
    def at(cls, home: Path | str) -> RunFolder:
        """Returns the run folder at a path, which need not exist."""
        return cls(Path(os.path.realpath(home)))

    @contextmanager
    def for_this_run(self, name: str, data: object = None) -> Iterator[None]:
        """Holds the folder for one run, after a check that a run can write here.

        Args:
            name: The user's name of the folder, such as `BCL_RUN`; messages begin with it.
            data: The folder that is read; one in a store is never in the way.

        Raises:
            FolderError: If the path has a character that a library cannot take, the folder lies in the data, cannot be
                written, is used by another process, or has another file where a run publishes.
        """
        _check_characters(self.home, name)
        if isinstance(data, Path) and Path(os.path.realpath(data)) in (self.home, *self.home.parents):
            raise FolderError(
                f"{name}: expected a folder outside the data, {data}. Received: {self.home}. Choose another folder."
            )
        with only_process_in(self.home, shown=f"{name}: {self.home}"):
            self._check_places(name)
            yield

    def _check_places(self, name: str) -> None:
        """Checks before a run that its results can be published."""
        if self.latest.exists() and not self.latest.is_symlink():
            expected, found = "the link that runs write", self.latest
        elif os.path.lexists(self.history) and not self.history.is_dir():
            expected, found = "the folder of what runs published", self.history
        else:
            return
        raise FolderError(f"{name}: {found}: expected {expected}. Received: another file. Move it to another place.")

    @property
    def input(self) -> Path:
        """Checked input, as the pipeline reads it."""
        return self.home / "input"

    @property
    def admitted(self) -> Path:
        """The checked input without songs that were taken down, where it had any."""
        return self.home / "admitted"

    @property
    def exclusions(self) -> Path:
        """Exclusions as Parquet, where they were given in another format."""
        return self.home / "exclusions.parquet"

    @property
    def listeners(self) -> Path:
        """The given table of listener vectors, where some of its listeners are to be forgotten."""
        return self.home / "listeners.parquet"

    @property
    def simulated(self) -> Path:
        """The simulated catalogue, where no data was given."""
        return self.home / "simulated"

    @property
    def pipeline_root(self) -> Path:
        """Outputs of the components."""
        return self.home / "pipeline"

    @property
    def metadata(self) -> Path:
        """ML Metadata database: what ran, from what, to what."""
        return self.home / "metadata.sqlite"

    @property
    def serving(self) -> Path:
        """Pushed models, one folder per version."""
        return self.home / "serving"

    @property
    def kept_statistics(self) -> Path:
        """Statistics of the data of the last pushed run."""
        return self.home / "kept_statistics"

    @property
    def judged_model(self) -> Path:
        """The judged model of the last pushed run, where another one is served."""
        return self.home / "judged_model"

    @property
    def history(self) -> Path:
        """Published results, one folder per run."""
        return self.home / "history"

    @property
    def latest(self) -> Path:
        """A link to the results of the last run whose model was pushed."""
        return self.home / "latest"

    @property
    def refreshed(self) -> Path:
        """Matches and targets of songs that refreshes added, one folder per version."""
        return self.home / "refreshed"

    @property
    def log(self) -> Path:
        """Output of TensorFlow, TFX and Beam."""
        return self.home / "run.log"


def _check_characters(home: Path, name: str) -> None:
    path = str(home)
    found = sorted(set(path) & set(_OF_PATTERNS))
    if found:
        raise FolderError(
            f"{name}: expected a path without {' '.join(_OF_PATTERNS)}, which TensorFlow takes for a pattern. "
            f"Received: {path!r}, with {' '.join(found)}. Choose another folder."
        )
    if not path.isascii() and path.encode(errors="ignore") != os.fsencode(path):
        raise FolderError(f"{name}: expected a path in UTF-8. Received: {os.fsencode(path)!r}. Choose another folder.")

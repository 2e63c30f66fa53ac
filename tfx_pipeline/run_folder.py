"""Where a run on one machine keeps what it writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The folders and files below `home`, which is made absolute: TFX records paths."""

    home: Path

    @classmethod
    def at(cls, home: Path | str) -> RunFolder:
        return cls(Path(home).resolve())

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
        """Exclusions as Parquet, where they were given otherwise."""
        return self.home / "exclusions.parquet"

    @property
    def simulated(self) -> Path:
        """The simulated catalogue, where no data was given."""
        return self.home / "simulated"

    @property
    def pipeline_root(self) -> Path:
        """What the components write."""
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
    def log(self) -> Path:
        """What TensorFlow, TFX and Beam said."""
        return self.home / "run.log"

"""One input file as Parquet, read in batches of rows, under the name the user gave it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.contract.csv_file import convert_plays, convert_songs
from tfx_pipeline.contract.errors import broken

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Source:
    """A readable Parquet file.

    Attributes:
        path: the Parquet file to read.
        shown: the file to name in messages; differs from `path` where a CSV was converted.
    """

    path: Path
    shown: Path

    def schema(self) -> pa.Schema:
        """Return the Arrow schema.

        Raises:
            ContractError: the file is no Parquet file, or two of its columns have one name.
        """
        try:
            schema = pq.read_schema(self.path)
        except (pa.ArrowException, OSError) as error:
            raise broken(self.shown, "a Parquet file", _first_line(error)) from error
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if twice:
            raise broken(
                self.shown, "one column of each name", f"{schema.names.count(twice[0])} of them", column=twice[0]
            )
        return schema

    def batches(self, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (row number of the first row, batch), so that memory is bounded by a batch and a row group.

        Raises:
            ContractError: the file is damaged.
        """
        first_row = 0
        with pq.ParquetFile(self.path) as parquet:
            if not parquet.num_row_groups:  # Newer versions of Arrow fail to iterate over none.
                return
            iterator = parquet.iter_batches(batch_size=BATCH_ROWS, columns=columns)
            while True:
                try:
                    batch = next(iterator, None)
                except (pa.ArrowException, OSError) as error:
                    raise broken(self.shown, "a readable Parquet file", _first_line(error), row=first_row) from error
                if batch is None:
                    return
                yield first_row, batch
                first_row += batch.num_rows


@contextmanager
def open_sources(folder: Path) -> Iterator[tuple[Source, Source, tuple[str, ...]]]:
    """Yield (songs, plays, notes) of an input folder; CSV files are converted aside and removed at the end.

    Raises:
        ContractError: the folder or one of the two files is missing.
    """
    if not folder.is_dir():
        received = "a file" if folder.exists() else "no such folder"
        raise broken(folder, "a folder with songs.parquet and plays.parquet", received)
    found = [find_file(folder, name) for name in ("songs", "plays")]
    notes = tuple(
        f"{path.with_suffix('.csv').name} is not read, because {path.name} is there."
        for path in found
        if path.suffix == ".parquet" and path.with_suffix(".csv").exists()
    )
    with TemporaryDirectory(prefix="contract-") as aside:
        sources = []
        for path, convert in zip(found, (convert_songs, convert_plays), strict=True):
            parquet = path
            if path.suffix == ".csv":
                parquet = Path(aside) / f"{path.stem}.parquet"
                notes += convert(path, parquet)
            sources.append(Source(parquet, path))
        yield sources[0], sources[1], notes


def find_file(folder: Path, name: str) -> Path:
    """Return `name`.parquet in the folder, or `name`.csv where there is no Parquet.

    Raises:
        ContractError: neither is a file.
    """
    for path in (folder / f"{name}.parquet", folder / f"{name}.csv"):
        if path.is_dir():
            raise broken(path, "one file", "a folder", remedy="Write the parts as one Parquet file.")
        if path.is_file():
            return path
    raise broken(folder, f"{name}.parquet or {name}.csv in the folder", "neither")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")

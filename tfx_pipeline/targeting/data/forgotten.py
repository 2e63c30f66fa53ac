"""Tables of listeners that are given to a run, without those who are to be forgotten."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from serving.files.whole_files import writing_whole
from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.forgotten import Forgotten
from tfx_pipeline.contract.ids import USER_ID


def without_forgotten(table: Path, aside: Path, names: Names = PLAIN) -> Path:
    """Returns a Parquet table without the forgotten listeners, in the contract's names.

    That is `table` itself where it has none of them and these names, else `aside`.

    Args:
        table: With a column user_id.
        aside: The file to write, in the folder of the run, which has the list of forgotten listeners.
        names: How the table may call its columns, beside the contract's names.
    """
    forgotten = Forgotten.of_run(aside)
    is_renamed = table.is_file() and not set(names.mapped).isdisjoint(_columns(table))
    if not table.is_file() or not (forgotten.hashes or is_renamed):
        return table
    read = pq.read_table(table)
    read = read.rename_columns([names.ours(name) for name in read.column_names])
    if USER_ID not in read.column_names:
        return table  # the step that reads it raises with a message
    users = read[USER_ID].cast(pa.string()).combine_chunks()
    users = users.chunk(0) if isinstance(users, pa.ChunkedArray) else users
    marked = forgotten.marks(users)
    if not marked.any() and not is_renamed:
        return table
    with writing_whole(aside) as writing:
        pq.write_table(read.filter(pa.array(~marked)), writing)
    return aside


def _columns(table: Path) -> list[str]:
    try:
        return list(pq.read_schema(table).names)
    except pa.ArrowException:
        return []  # the step that reads it raises with a message

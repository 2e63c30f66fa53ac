"""Tables of listeners that are given to a run, without those who are to be forgotten."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from serving.files.whole_files import writing_whole
from tfx_pipeline.contract.forgotten import Forgotten
from tfx_pipeline.contract.ids import USER_ID


def without_forgotten(table: Path, aside: Path) -> Path:
    """Returns a Parquet table without the forgotten listeners: `table` itself where it has none of them, else `aside`.

    Args:
        table: With a column user_id.
        aside: The file to write, in the folder of the run, which has the list of forgotten listeners.
    """
    forgotten = Forgotten.of_run(aside)
    if not forgotten.hashes or not table.is_file():
        return table
    read = pq.read_table(table)
    if USER_ID not in read.column_names:
        return table  # the step that reads it raises with a message
    users = read[USER_ID].cast(pa.string()).combine_chunks()
    users = users.chunk(0) if isinstance(users, pa.ChunkedArray) else users
    marked = forgotten.marks(users)
    if not marked.any():
        return table
    with writing_whole(aside) as writing:
        pq.write_table(read.filter(pa.array(~marked)), writing)
    return aside

"""Listeners who must not be targeted, as the targeting step reads them: from Parquet, CSV or a list of ids.

A table has user_id and song_id; an empty song_id means every song. A list of ids alone, without a header or with
user_id as its header, excludes each of its listeners from every song. Of text and CSV, quotes and blanks around an id
are dropped; an id that begins or ends with a blank needs Parquet.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from serving.files.whole_files import writing_whole
from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.id_lists import Cell, read_rows
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.schemas import EXCLUSIONS


def as_parquet(given: str, aside: Path, names: Names = PLAIN) -> str:
    """Returns the exclusions as something that Beam reads: `given` itself where it is that already, else `aside`.

    Args:
        given: One local file in any of the forms; or a folder, a pattern or a remote path of Parquet files.
        aside: The file to write where `given` needs it; the same exclusions give the same bytes.
        names: How `given` may call its columns, beside the contract's names.

    Raises:
        ContractError: If a file cannot be read, or excludes nobody.
    """
    path = Path(given)
    if not path.is_file() or _is_table(path):
        return given
    rows = read_rows(path, (USER_ID, SONG_ID), names)
    pairs = [(_plain(user), _plain(song) or None) for user, song in rows if _plain(user)]
    if not pairs:
        remedy = "Leave the exclusions out where there are none."
        raise broken(path, "at least one listener", "none", remedy=remedy)
    users, songs = zip(*dict.fromkeys(pairs), strict=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    with writing_whole(aside) as writing:
        pq.write_table(pa.table([pa.array(users), pa.array(songs, pa.string())], schema=EXCLUSIONS), writing)
    return str(aside)


def _is_table(path: Path) -> bool:
    with path.open("rb") as stream:
        if stream.read(4) != b"PAR1":
            return False
    try:
        return USER_ID in pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False  # `read_rows` raises with a message


def _plain(cell: Cell) -> str:
    return cell[-1] if cell else ""

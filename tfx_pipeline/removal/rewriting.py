"""Files rewritten without some listeners: each appears whole in the old one's place, or the old one stays."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.files.whole_files import put_file
from tfx_pipeline.removal import contents
from tfx_pipeline.removal.csv_rows import without_rows
from tfx_pipeline.removal.search import holds
from tfx_pipeline.removal.wanted import Wanted

ASIDE = ".forgetting-"
_IN_PLACE_OF_AN_ID = b"[forgotten]"
#: Pages of earlier versions showed ids.
_ON_PAGE = re.compile(rb"<li>user .*?(?= <small>)", re.DOTALL)


def rewrite(path: Path, wanted: Wanted, *, tables_only: bool = False) -> str | None:
    """Removes the listeners from a file.

    Args:
        path: The file.
        wanted: Their ids.
        tables_only: Whether to change tables of listeners only, and no other text.

    Returns:
        What was removed, in words; None where nothing was, and the file is as before.
    """
    kind = contents.kind_of(path)
    if kind == "text":
        return _rewrite_text(path, wanted, tables_only=tables_only)
    return _REWRITES[kind](path, wanted) if kind in _REWRITES else None


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yields a file to write. It takes the place of `path` when the block ends without an error."""
    aside = path.with_name(f"{ASIDE}{path.name}")
    try:
        yield aside
        shutil.copymode(path, aside)
        put_file(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _rewrite_parquet(path: Path, wanted: Wanted) -> str | None:
    if wanted.ids.isdisjoint(contents.listeners_of(path, wanted.columns)) and not holds(path, wanted):
        return None
    ids, gone = pa.array(sorted(wanted.ids), pa.string()), 0
    with pq.ParquetFile(path) as file:
        schema, parts = file.schema_arrow, file.metadata
        listeners = next((name for name in wanted.columns(path) if name in schema.names), None)
        if listeners is None:
            return None
        packed = parts.row_group(0).column(0).compression if parts.num_row_groups else "SNAPPY"
        compression = "NONE" if packed == "UNCOMPRESSED" else packed
        with replaced(path) as aside, pq.ParquetWriter(aside, schema, compression=compression) as writer:
            for group in range(parts.num_row_groups):
                table = file.read_row_group(group)
                left = table.filter(pc.invert(pc.is_in(contents.as_text(table[listeners]), value_set=ids)))
                gone += table.num_rows - left.num_rows
                if left.num_rows:
                    writer.write_table(_with_used_words(left), row_group_size=left.num_rows)
    return f"{gone:,} rows"


def _with_used_words(table: pa.Table) -> pa.Table:
    """Returns the table with dictionaries that hold only what its rows use."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field, plain.dictionary_encode().cast(field.type))
    return table


def _rewrite_examples(path: Path, wanted: Wanted) -> str | None:
    if not holds(path, wanted) or not contents.has_examples(path):
        return None
    import tensorflow as tf

    ids, gone = {one.encode() for one in wanted.ids}, 0
    with replaced(path) as aside, tf.io.TFRecordWriter(str(aside), tf.io.TFRecordOptions("GZIP")) as writer:
        for records in contents.batches(contents.records_of(path)):
            for record, user in zip(records, contents.users_of(records), strict=True):
                if user in ids:
                    gone += 1
                else:
                    writer.write(record)
    return f"{gone:,} examples"


def _rewrite_statistics(path: Path, wanted: Wanted) -> str | None:
    """Removes every listener: the gate does not compare the most frequent ones."""
    found, of_users = contents.user_statistics(path.read_bytes())
    for feature in of_users:
        for name in ("top_values", "rank_histogram"):
            feature.string_stats.ClearField(name)
    data = found.SerializeToString(deterministic=True)
    if not of_users or len(data) == path.stat().st_size:
        return None
    with replaced(path) as aside:
        aside.write_bytes(data)
    return "the most frequent ids of listeners"


def _rewrite_text(path: Path, wanted: Wanted, *, tables_only: bool) -> str | None:
    left = without_rows(path, wanted)
    if left is not None:
        data, removed = left
    elif tables_only:
        return None
    else:
        data, removed = _without_words(path, wanted)
    if not removed:
        return None
    with replaced(path) as aside:
        aside.write_bytes(data)
    return removed


def _without_words(path: Path, wanted: Wanted) -> tuple[bytes, str]:
    data = path.read_bytes()
    shown = _ON_PAGE.sub(b"<li>listener", data) if path.suffix == ".html" else data
    removed = ["the listeners shown"] if shown != data else []
    pieces, end = [], 0
    for start, stop in wanted.hits(shown, is_text=True):
        pieces += [shown[end:start], _IN_PLACE_OF_AN_ID]
        end = stop
    removed += [f"{len(pieces) // 2:,} words"] if pieces else []
    return b"".join([*pieces, shown[end:]]), " and ".join(removed)


_REWRITES: dict[str, Callable[[Path, Wanted], str | None]] = {
    "parquet": _rewrite_parquet,
    "gzip": _rewrite_examples,
    "statistics": _rewrite_statistics,
}

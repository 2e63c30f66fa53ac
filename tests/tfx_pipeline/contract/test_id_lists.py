"""Lists of ids as people and tools write them: what is read, what is refused and in which words."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.contract import ContractError
from tfx_pipeline.contract.id_lists import read_ids

KNOWN = [
    "song-1",
    "song-2",
    " lead",
    "lead",
    "tail ",
    'say "no"',
    "a,b",
    "x;y",
    "über",
    "über",
    "曲🎵",
    "7",
    "id",
    "  ",
]
TWO = {"song-1", "über"}


def of(path: Path, content: bytes | str) -> frozenset[str]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_ids(path).meant(set(KNOWN), "the index")


TEXTS = {
    "lines": "song-1\nüber\n",
    "no last line end": "song-1\nüber",
    "carriage returns": "song-1\r\nüber\r\n",
    "old carriage returns": "song-1\rüber\r",
    "mark": "\ufeffsong-1\r\nüber",
    "blank lines": "\n\nsong-1\n\n   \nüber\n\t\n",
    "blanks around": "  song-1\t\nüber   \n",
    "twice": "song-1\nüber\nsong-1\n",
    "quotes": '"song-1"\n"über"\n',
    "blanks around quotes": ' "song-1" \n" über "\n',
    "header": "song_id\nsong-1\nüber\n",
    "quoted header": '"song_id"\r\n"song-1"\r\n"über"\r\n',
    "two columns": "song_id,title\nsong-1,One\nüber,Two\n",
    "quoted columns": '"title","song_id"\n"One, or more","song-1"\n"Two","über"\n',
    "semicolons": "title;song_id\nOne;song-1\n\nTwo; über\n",
    "tabs": "song_id\ttitle\nsong-1\tOne\nüber\tTwo\n",
    "a title of two lines": 'song_id,title\nsong-1,"One\nmore"\nüber,Two\n',
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(tmp_path: Path, name: str) -> None:
    assert of(tmp_path / "gone.txt", TEXTS[name]) == TWO


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["song-1\r\nüber\r\n", "song_id,title\nsong-1,One\nüber,Two\n"])
def test_encodings(tmp_path: Path, encoding: str, text: str) -> None:
    assert of(tmp_path / "gone.csv", text.encode(encoding)) == TWO
    if encoding != "utf-16":  # which writes a mark of its own
        assert of(tmp_path / "gone.csv", ("\ufeff" + text).encode(encoding.removesuffix("-sig"))) == TWO


@pytest.mark.parametrize("song_id", KNOWN)
@pytest.mark.parametrize("how", ["line", "quoted", "column", "parquet"])
def test_the_exact_id_comes_first(tmp_path: Path, song_id: str, how: str) -> None:
    """Ids that begin or end with blanks, hold quotes or separators, or differ by normal form alone."""
    file, cell = tmp_path / "gone", '"' + song_id.replace('"', '""') + '"'
    texts = {"line": f"{song_id}\n", "quoted": f"{cell}\r\n", "column": f"title,song_id\nOne,{cell}\n"}
    if how == "parquet":
        pq.write_table(pa.table({"song_id": [song_id]}), file)
        assert read_ids(file).meant(set(KNOWN), "the index") == {song_id}
    elif song_id == "id" and how != "column":
        assert of(file, f"{texts[how]}song-1\n") == {song_id, "song-1"}
    else:
        assert of(file, texts[how]) == {song_id}


PARQUET = {
    "string": pa.array(["song-1", "über"]),
    "large_string": pa.array(["song-1", "über"], pa.large_string()),
    "dictionary": pa.array(["song-1", "über", "song-1"]).dictionary_encode(),
    "dictionary of large_string": pa.array(["song-1", "über"], pa.large_string()).dictionary_encode(),
    "binary": pa.array([b"song-1", "über".encode()]),
    "nulls": pa.array(["song-1", None, "über", ""]),
    "blanks around": pa.array(["song-1   ", "über   "]),
}


@pytest.mark.parametrize("name", PARQUET)
def test_parquet(tmp_path: Path, name: str) -> None:
    file = tmp_path / "gone.txt"  # the content says what it is
    for columns in ({"id": PARQUET[name]}, {"n": range(len(PARQUET[name])), "song_id": PARQUET[name]}):
        pq.write_table(pa.table(columns), file)
        assert read_ids(file).meant(set(KNOWN), "the index") == TWO


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64(), pa.dictionary(pa.int32(), pa.int64())])
def test_integers(tmp_path: Path, kind: pa.DataType) -> None:
    numbers = pa.array([7, 7], pa.int64())
    column = numbers.dictionary_encode() if pa.types.is_dictionary(kind) else numbers.cast(kind)
    pq.write_table(pa.table({"song_id": column}), tmp_path / "gone")
    assert read_ids(tmp_path / "gone").meant(set(KNOWN), "the index") == {"7"}


ONE_ID = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(ONE_ID, min_size=1, max_size=8), st.sampled_from(["utf-8-sig", "utf-8", "utf-16"]))
def test_what_a_csv_writer_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, ids: list, how: str) -> None:
    """Whatever characters an id holds, line ends among them."""
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    writer.writerows([("song_id", "n"), *((song_id, n) for n, song_id in enumerate(ids))])
    file = tmp_path_factory.mktemp("lists") / "gone.csv"
    file.write_bytes(written.getvalue().encode(how))
    assert read_ids(file).meant(set(ids), "the index") == set(ids)


def test_unknown_ids_are_counted_and_named(tmp_path: Path) -> None:
    file = tmp_path / "gone.txt"
    file.write_text("song-1\n" + "".join(f"typo-{n}\n" for n in range(12)) + "typo-3\n")
    with pytest.raises(ContractError) as caught:
        read_ids(file).meant(set(KNOWN), "the index")
    named = ", ".join(f"'typo-{n}'" for n in range(10))
    assert str(caught.value) == (
        f"{file}: expected ids of the index. Received: 12 of 13 that are unknown: {named} and 2 more. Correct them, or "
        "say that they may be missing with --ignore-missing."
    )
    found = read_ids(file).meant(set(KNOWN), "the index", ignore_missing=True)
    assert found == {"song-1", *(f"typo-{n}" for n in range(12))}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected at least one id. Received: none. Leave the list out where there is nothing to name."),
        (b"\xef\xbb\xbf\r\n \r\n", "expected at least one id. Received: none."),
        (b"song_id\n", "expected at least one id. Received: none."),
        (b"song_id,title\n", "expected at least one id. Received: none."),
        ("song-1\r\nüber".encode("latin-1"), "row 1 (counted from 0): expected text in UTF-8. Received: the byte 0xfc"),
        (b"a\0\0\0\0b\0\0", "expected a text, CSV or Parquet file with an id in each row. Received: a file of another"),
        (b"song_id,title\nsong-1\n", "row 0 (counted from 0): expected 2 columns. Received: 1."),
        (b"PAR1 and no more", "expected a text, CSV or Parquet file with an id in each row. Received: "),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ContractError) as caught:
        of(tmp_path / "gone.txt", content)
    assert str(caught.value).startswith(f"{tmp_path / 'gone.txt'}: ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "title": ["b"]}, "expected a column `song_id`, or one column alone. Received: the columns id"),
        ({"song_id": [1.5]}, "column `song_id`, row 0 (counted from 0): expected strings or integers. Received: 1.5."),
        ({"song_id": [["a"]]}, "expected strings or integers. Received: ['a']."),
        ({"song_id": [b"\xff"]}, "expected text in UTF-8. Received: b'\\xff'."),
        ({"song_id": pa.array([], pa.string())}, "expected at least one id. Received: none."),
    ],
)
def test_parquet_that_is_no_list(tmp_path: Path, columns: dict, message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "gone")
    with pytest.raises(ContractError) as caught:
        read_ids(tmp_path / "gone").meant(set(KNOWN), "the index")
    assert message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path, received in ((tmp_path / "nowhere", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ContractError, match=f"an id in each row. Received: {received}."):
            read_ids(path)

"""Columns and files as other tools write them: what each becomes, which notes it gets, what is refused."""

import csv
import io
import subprocess
import sys
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import SONGS, ContractError, check, prepare

ROWS = 300
KINDS: dict[str, tuple[Callable[[int], str], str, list[object], str]] = {
    # what: (cell of row i, kind, values of rows 0 and 1 once prepared, note after the name)
    "plain": (str, "number", [0.0, 1.0], "number (guessed from CSV), 0 of 300 missing"),
    "exponent": (lambda i: f"{i}.5e+01", "number", [5.0, 15.0], "number (guessed"),
    "decimal comma": (lambda i: f"{i},5", "number", [0.5, 1.5], "number with decimal commas (guessed"),
    "three decimals": (lambda i: f"{i},125", "number", [0.125, 1.125], "number with decimal commas (guessed"),
    "leading zero": (lambda i: f"{i:05}", "category", ["00000", "00001"], "category (guessed"),
    "words": (lambda i: f"w{i % 5}", "category", ["w0", "w1"], "category (guessed"),
    "python": (lambda i: f"['a', \"it's {i}\", None]", "multi_category", [["a", "it's 0"], ["a", "it's 1"]], "multi"),
    "json": (lambda i: f'["a\\u00e9","b, {i}",null]', "multi_category", [["a\u00e9", "b, 0"], ["a\u00e9", "b, 1"]], ""),
    "numpy words": (lambda i: f"['a' 'b{i}']", "multi_category", [["a", "b0"], ["a", "b1"]], "multi_category ("),
    "spark": (lambda i: f"[lo fi, b{i}]", "multi_category", [["lo fi", "b0"], ["lo fi", "b1"]], "multi_category ("),
    "one word": (lambda i: f"['b{i}']" if i else "[]", "multi_category", [None, ["b1"]], "multi_category ("),
    "ids": (lambda i: f"[{i}, 007]", "multi_category", [["0", "007"], ["1", "007"]], "multi_category ("),
    "pipes": (lambda i: f"a|b{i}", "multi_category", [["a", "b0"], ["a", "b1"]], "multi_category ("),
    "vector": (lambda i: f"[0.5, {i}]", "vector", [[0.5, 0], [0.5, 1]], "vector (guessed"),
    "numpy vector": (lambda i: f"[0.5 {i}.\n -1.e-01]", "vector", [[0.5, 0, -0.1], [0.5, 1, -0.1]], "vector ("),
    "numpy numbers": (lambda i: f"[np.float64(0.5), np.float64({i}.0)]", "vector", [[0.5, 0], [0.5, 1]], "vector ("),
    "holed vector": (lambda i: f"[0.5, {i or 'nan'}]", "vector", [None, [0.5, 1]], "vector (guessed"),
    "pipe vector": (lambda i: f"0.5|{i}", "vector", [[0.5, 0], [0.5, 1]], "vector (guessed"),
}
MARKERS = ["NA", "N/A", "#N/A", "n/a", "null", "NULL", "None", "none", "NaN", "nan", "\\N", "-", "", "  "]


def write(folder, cells, *, separator=",", encoding="utf-8", newline="\n", plays=None):
    """Write songs of one column `audio_x` beside a plain one, as Python's csv writes them."""
    folder.mkdir(exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=newline)
    writer.writerow(["song_id", "audio_x", "attribute_g", "title"])
    writer.writerows([f"s{i}", cell, f"g{i % 3}", f"T{i}"] for i, cell in enumerate(cells))
    (folder / "songs.csv").write_bytes(text.getvalue().encode(encoding))
    (folder / "plays.csv").write_text(plays or "user_id,song_id\nu,s0\n")
    return folder


def column(folder, tmp_path):
    """Return the kind of `audio_x`, its prepared values and its notes."""
    catalogue = prepare(folder, tmp_path / "out")
    kind = next((field.kind for field in catalogue.fields if field.name == "audio_x"), None)
    values = pq.read_table(tmp_path / "out" / SONGS)["audio_x"].to_pylist()
    return kind, values, [note for note in catalogue.notes if note.startswith("audio_x")]


def rounded(values):
    """Return the values with floats as they were before they became float32."""
    if isinstance(values, list):
        return [rounded(value) for value in values]
    return round(values, 6) if isinstance(values, float) else values


def refusal(folder):
    with pytest.raises(ContractError) as error:
        check(folder)
    return str(error.value)


@pytest.mark.parametrize("what", KINDS)
def test_a_column_is_what_all_its_cells_are(tmp_path, what):
    cell, kind, first, note = KINDS[what]
    found, values, notes = column(write(tmp_path / "in", map(cell, range(ROWS))), tmp_path)
    assert found == kind and rounded(values[:2]) == first
    assert len(values) == ROWS and notes[0].startswith(f"audio_x: {note}")


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("what", ["plain", "decimal comma", "vector", "python", "pipe vector"])
def test_words_for_missing_keep_the_kind(tmp_path, what, marker):
    cell, kind, first, _ = KINDS[what]
    cells = [cell(0), cell(1), *([marker] * ROWS)]
    found, values, notes = column(write(tmp_path / "in", cells), tmp_path)
    assert found == kind and values == [*first, *[None] * ROWS]
    assert notes[0].endswith(f"{ROWS} of {ROWS + 2} missing")


@pytest.mark.parametrize("marker", MARKERS[:-4])
def test_among_words_they_are_words_and_a_note_says_so(tmp_path, marker):
    cells = [f"w{i}" for i in range(10)] + [marker, marker, "\\N", ""]
    found, values, notes = column(write(tmp_path / "in", cells), tmp_path)
    assert found == "category" and values[-4:] == [marker, marker, None, None]
    assert "2 of 14 missing" in notes[0] and f"{marker!r} in 2 cells is kept as a word" in notes[0]


def test_a_column_without_any_other_word_is_empty(tmp_path):
    folder = write(tmp_path / "in", ["NA", "None", "", "-"])
    text = (folder / "songs.csv").read_text().replace("title", "audio_y").replace(",T", ",")
    (folder / "songs.csv").write_text(text)
    catalogue = check(folder)
    assert [field.name for field in catalogue.fields] == ["attribute_g", "audio_y"]
    assert "audio_x is left out: it has no value in any row." in catalogue.notes


@pytest.mark.parametrize("what", ["plain", "decimal comma", "vector", "python", "pipe vector"])
def test_a_few_other_words_are_refused_by_row_and_word(tmp_path, what):
    cells = [KINDS[what][0](i) for i in range(ROWS)]
    cells[250] = "unknown"
    message = refusal(write(tmp_path / "in", cells))
    for words in ("songs.csv: column `audio_x`, row 250 (counted from 0)", "'unknown'", "299", "Leave a cell empty"):
        assert words in message


def test_many_other_words_make_a_category_that_says_what_it_could_have_been(tmp_path):
    cells = ["fast" if i % 50 == 7 else str(i) for i in range(ROWS)]
    found, values, notes = column(write(tmp_path / "in", cells), tmp_path)
    assert found == "category" and values[7:9] == ["fast", "8"]
    assert "98% of its cells are numbers, 'fast' in row 7 is not" in notes[0]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["1,5", "2.5"], ["row 0", "decimal points", "'1,5'"]),
        (["1,234", "5"], ["row 0", "one way", "thousands or a decimal comma"]),
        (["5", "1,234,567"], ["row 1", "without separators of thousands"]),
        (["5", "1 234"], ["row 1", "without separators of thousands"]),
        (["5", "1\u202f234\u202f567,5"], ["row 1", "without separators of thousands"]),
        (["5", "1'234.50"], ["row 1", "without separators of thousands"]),
        (["5,5", "1.234,5"], ["row 1", "without separators of thousands"]),
        (["0,5|1,5", "1|2"], ["row 0", "Write 0.5|1.5"]),
        (["[0.1 0.2 ... 0.9]", "[0.1 0.2 0.3]"], ["row 0", "all their elements", "numpy prints ..."]),
        (["[['a'], ['b']]", "['a']"], ["row 0", "a list of words"]),
        (["['a'", "b']", "['c]"], []),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, cells, words):
    folder = write(tmp_path / "in", cells)
    if not words:  # Half a list is a word.
        assert column(folder, tmp_path)[0] == "category"
        return
    message = refusal(folder)
    for word in ["column `audio_x`", *words]:
        assert word in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_line_ends_and_separators(tmp_path, encoding, newline, separator):
    cells = [f"caf\u00e9 {i % 2}, \U0001f3b5; x\ty" for i in range(40)]
    folder = write(tmp_path / "in", cells, separator=separator, encoding=encoding, newline=newline)
    kind, values, _ = column(folder, tmp_path)
    assert kind == "category" and values == cells
    notes = " ".join(check(folder).notes)
    assert (encoding.upper() in notes) == (encoding in ("utf-16", "utf-32"))
    assert ("between cells" in notes) == (separator != ",")


@pytest.mark.parametrize("first", ["", "sep=;\n", '"sep=;"\n\n'])
def test_semicolons_with_decimal_commas(tmp_path, first):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "songs.csv").write_text(first + "song_id;audio_x;audio_y\na;1,5;2\nb;2,25;NA\n")
    (folder / "plays.csv").write_text("user_id;song_id;plays\nu;a;1\n")
    prepare(folder, tmp_path / "out")
    songs = pq.read_table(tmp_path / "out" / SONGS).to_pydict()
    assert songs["audio_x"] == [1.5, 2.25] and songs["audio_y"] == [2.0, None]


@pytest.mark.parametrize("before", ["", "two\nlines", 'a "quoted"\r\nline'])
def test_a_row_is_counted_after_the_header_whatever_lines_it_takes(tmp_path, before):
    folder = write(tmp_path / "in", [before or "x"] * 250)
    with (folder / "songs.csv").open("a", newline="") as file:
        file.write("\n\ns250,a, b,g,T\n")
    message = refusal(folder)
    assert "songs.csv: row 250 (counted from 0): expected 4 columns, found 5. Received: 's250,a, b,g,T'" in message


def test_a_row_beyond_the_first_block_is_named(tmp_path):
    folder = write(tmp_path / "in", ["x" * 100] * 60_000)
    with (folder / "songs.csv").open("a", newline="") as file:
        file.write("s,a\n")
    assert "row 60000 (counted from 0): expected 4 columns, found 2" in refusal(folder)


def test_a_quote_that_is_not_closed(tmp_path):
    for rows in (20, 60_000):  # Less than a block of the file, and more.
        folder = write(tmp_path / "in", ["x" * 100] * rows)
        text = (folder / "songs.csv").read_text()
        (folder / "songs.csv").write_text(text.replace("s5,", 's5,"', 1))
        message = refusal(folder)
        assert "songs.csv: row 5 (counted from 0): expected" in message and "quote" in message


def test_a_header_over_several_lines_and_columns_without_a_name(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "songs.csv").write_text('\n,song_id,audio_x,"a\nnote",attribute_g,\n0,s0,1,x,g,\n1,s1,2,y,h,\n')
    (folder / "plays.csv").write_text(",user_id,song_id\n0,u,s1\n")
    catalogue = prepare(folder, tmp_path / "out")
    assert "songs.csv: column 1, 6 has no name in the header and is not read." in catalogue.notes
    assert catalogue.display == ("a\nnote",)
    assert pq.read_table(tmp_path / "out" / SONGS)["audio_x"].to_pylist() == [1.0, 2.0]


def test_plays_as_tools_write_them(tmp_path):
    plays = "user_id,song_id,plays,liked\nu,s0,1.0,1.0\nv,s1,2e+00,Yes\nw,s2,NA,no\nx,s1,,NULL\ny,s1,3,t\n"
    write(tmp_path / "in", ["1", "2", "3"], plays=plays)
    prepare(tmp_path / "in", tmp_path / "out")
    found = pq.read_table(tmp_path / "out" / "plays" / "plays.parquet").to_pydict()
    assert found["plays"] == [1, 2, 1, 1, 3] and found["liked"] == [1, 1, 0, 0, 1]
    write(tmp_path / "in", ["1", "2", "3"], plays="user_id,song_id,plays\nu,s0,1\nv,s1,1.5\n")
    assert "column `plays`, row 1 (counted from 0): expected a whole number. Received: '1.5'" in refusal(
        tmp_path / "in"
    )


def test_memory_does_not_grow_with_rows(tmp_path):
    """Twice the rows: Arrow's own peak stays within a tenth."""
    code = """
import sys, pyarrow as pa
from pathlib import Path
from tfx_pipeline.contract.csv.file import convert_songs
for rows in (90_000, 180_000):
    path = Path(sys.argv[1]) / f"{rows}.csv"
    with path.open("w") as file:
        file.write("song_id,audio_x,attribute_g\\n")
        file.writelines(f"s{i},[0.5 {i}],{'words that fill the blocks ' * 20}{i % 9}\\n" for i in range(rows))
    convert_songs(path, path.with_suffix(".parquet"))
    print(pa.default_memory_pool().max_memory())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    assert many < 1.1 * few

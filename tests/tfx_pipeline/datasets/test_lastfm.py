"""The Last.fm-2K importer on a small archive of the same form, on broken ones, and on the original if it is there."""

import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import ContractError, check
from tfx_pipeline.datasets.lastfm import convert, main
from tfx_pipeline.datasets.sources import not_on_day_zero, read_sources

SHARED = Path(os.environ.get("BCL_SHARED_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
ORIGINAL = SHARED / "raw" / "hetrec2011-lastfm-2k.zip"
needs_original = pytest.mark.skipif(not ORIGINAL.is_file(), reason="the Last.fm-2K archive is not in BCL_SHARED_DATA")

FILES = {
    "artists.dat": (
        "id\tname\turl\tpictureURL\n1\tBjörk\tx\ty\n2\t\u041a\u0438\u043d\u043e\tx\ty\n3\tThe Band\tx\t\n4\t+/-\tx\ty\n"
    ).encode(),
    "tags.dat": "tagID\ttagValue\r\n1\tRock français\r\n2\tpop\r\n3\tindie pop\r\n".encode("latin-1"),
    "user_artists.dat": b"userID\tartistID\tweight\r\n7\t1\t13\r\n7\t2\t1\r\n9\t3\t5\r\n",
    "user_taggedartists.dat": (
        b"userID\tartistID\ttagID\tday\tmonth\tyear\r\n"
        b"7\t1\t2\t1\t4\t2009\r\n9\t1\t2\t1\t5\t2009\r\n7\t1\t1\t1\t4\t2009\r\n9\t3\t3\t1\t4\t2009\r\n9\t99\t3\t1\t4\t2009\r\n"
    ),
    "readme.txt": b"made for a test",
}


def pack(path, changes=None):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**FILES, **(changes or {})}.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def test_a_small_archive(tmp_path):
    catalogue = convert(pack(tmp_path / "a.zip"), tmp_path / "out")
    assert (catalogue.num_songs, catalogue.num_users, catalogue.num_plays) == (4, 2, 3)
    songs = pq.read_table(tmp_path / "out" / "songs.parquet").to_pydict()
    assert songs["title"] == ["Björk", "Кино", "The Band", "+/-"]
    assert songs["attribute_tags"] == [["pop", "rock français"], None, ["indie pop"], None]
    assert songs["attribute_tag_words"] == [["pop", "rock", "français"], None, ["indie", "pop"], None]
    assert songs["attribute_script"] == ["latin", "cyrillic", "latin", None]
    plays = pq.read_table(tmp_path / "out" / "plays.parquet").to_pydict()
    assert plays == {"user_id": ["7", "7", "9"], "song_id": ["1", "2", "3"], "plays": [13, 1, 5]}


def test_tags_of_too_few_users_do_not_count(tmp_path):
    convert(pack(tmp_path / "a.zip"), tmp_path / "out", min_tag_users=2)
    songs = pq.read_table(tmp_path / "out" / "songs.parquet").to_pydict()
    assert songs["attribute_tags"] == [["pop"], None, None, None]
    with pytest.raises(ValueError, match=r"`min_tag_users` must be at least 1. Received: 0"):
        convert(tmp_path / "a.zip", tmp_path / "out", min_tag_users=0)


def test_tags_of_an_artists_own_listeners_are_left_out(tmp_path):
    archive = pack(tmp_path / "a.zip")
    arguments = [str(archive), str(tmp_path / "all"), "--strangers", str(tmp_path / "strangers")]
    assert main(arguments) == 0
    convert(archive, tmp_path / "alone")
    folders = {name: tmp_path / name for name in ("all", "alone", "strangers")}
    songs = {name: pq.read_table(path / "songs.parquet").to_pydict() for name, path in folders.items()}
    # 7 plays artist 1 and gave it "pop" and "rock français"; 9 does not and gave it "pop"; 9 plays artist 3.
    assert songs["strangers"]["attribute_tags"] == [["pop"], None, None, None]
    assert songs["strangers"]["attribute_tag_words"] == [["pop"], None, None, None]
    assert songs["all"] == songs["alone"]
    plays = [(path / "plays.parquet").read_bytes() for path in folders.values()]
    assert plays[0] == plays[1] == plays[2]
    with pytest.raises(ValueError, match=r"`tags` must be one of \['all', 'strangers'\]\. Received: 'friends'"):
        convert(archive, tmp_path / "all", tags="friends")  # type: ignore[arg-type]


def test_the_folder_says_what_is_not_there_on_day_zero(tmp_path):
    convert(pack(tmp_path / "a.zip"), tmp_path / "out")
    sources = read_sources(tmp_path / "out") or {}
    fields = {field.name for field in check(tmp_path / "out").fields}
    assert set(sources) == {
        *fields,
        "attribute_tags",
        "attribute_tag_words",
        "attribute_name_words",
        "attribute_script",
    }
    assert not_on_day_zero(sources) == {"attribute_tags", "attribute_tag_words"}


def test_more_fields_stand_in_place_of_the_words(tmp_path):
    archive, more = pack(tmp_path / "a.zip"), tmp_path / "more"
    more.mkdir()
    columns = {
        "song_id": ["4", "3", "2", "1"],  # in another order
        "attribute_tags": [["other"]] * 4,
        "attribute_facts": [["d"], None, ["b"], ["a"]],
        "audio_tempo": [4.0, 3.0, None, 1.0],
    }
    pq.write_table(pa.table(columns), more / "songs.parquet")
    plays = {"user_id": ["7", "7", "9"], "song_id": ["1", "2", "3"]}
    pq.write_table(pa.table(plays), more / "plays.parquet")
    convert(archive, tmp_path / "out", tags="strangers", more=more)
    songs = pq.read_table(tmp_path / "out" / "songs.parquet").to_pydict()
    assert list(songs) == ["song_id", "title", "attribute_tags", "attribute_facts", "audio_tempo"]
    assert songs["attribute_tags"] == [["pop"], None, None, None]
    assert songs["attribute_facts"] == [["a"], ["b"], None, ["d"]] and songs["audio_tempo"] == [1.0, None, 3.0, 4.0]
    assert not_on_day_zero(read_sources(tmp_path / "out") or {}) == {"attribute_tags", "attribute_facts"}
    pq.write_table(pa.table(columns).slice(0, 3), more / "songs.parquet")
    pq.write_table(pa.table(plays).slice(1), more / "plays.parquet")
    with pytest.raises(ContractError, match=r"expected the artists of the archive\. Received: none of the id 1"):
        convert(archive, tmp_path / "other", more=more)


def test_words_of_names_need_to_be_shared(tmp_path):
    rows = [f"{index}\tThe {word}\tx\ty" for index, word in enumerate(("Ones", "Twos", "Threes", "Fours", "Fives"), 1)]
    artists = "\n".join(["id\tname\turl\tpictureURL", *rows, ""]).encode()
    convert(pack(tmp_path / "a.zip", {"artists.dat": artists}), tmp_path / "out")
    songs = pq.read_table(tmp_path / "out" / "songs.parquet").to_pydict()
    assert songs["attribute_name_words"] == [["the"]] * 5


BROKEN = {
    "missing file": ({"tags.dat": None}, ["one file tags.dat", "artists.dat, readme.txt"]),
    "wrong header": ({"tags.dat": b"id,tag\n"}, [":tags.dat", "the header tagID tagValue", "'id,tag'"]),
    "short line": ({"artists.dat": FILES["artists.dat"] + b"5\tx\n"}, [":artists.dat: row 4", "4 cells", "2 in"]),
    "no number": (
        {"user_artists.dat": FILES["user_artists.dat"] + b"9\t1\tlots\r\n"},
        [":user_artists.dat: column `weight`, row 3", "whole number", "'lots'"],
    ),
    "unknown tag": (
        {"user_taggedartists.dat": FILES["user_taggedartists.dat"] + b"9\t1\t55\t1\t4\t2009\r\n"},
        [":user_taggedartists.dat: column `tagID`, row 5", "55"],
    ),
    "unknown artist": (
        {"user_artists.dat": FILES["user_artists.dat"] + b"9\t1000\t3\r\n"},
        [":user_artists.dat: column `artistID`, row 3", "1000"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_refuses_another_archive(tmp_path, case):
    changes, words = BROKEN[case]
    with pytest.raises(ContractError) as error:
        convert(pack(tmp_path / "a.zip", changes), tmp_path / "out")
    for word in ["expected", "Received: ", *words]:
        assert word in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_refuses_what_is_no_archive(tmp_path, capsys):
    whole = pack(tmp_path / "a.zip").read_bytes()
    for data in (b"no zip", whole[: len(whole) // 2], whole.replace(b"Bj", b"Xj")):
        (tmp_path / "b.zip").write_bytes(data)
        assert main([str(tmp_path / "b.zip"), str(tmp_path / "out")]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and "expected an undamaged zip archive" in message
    assert main([str(tmp_path / "c.zip"), str(tmp_path / "out")]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    assert main([str(tmp_path / "a.zip"), str(tmp_path / "out")]) == 2
    assert "something else, which is left as it is" in capsys.readouterr().err


@needs_original
def test_the_original_archive(tmp_path, capsys):
    assert main([str(ORIGINAL), str(tmp_path / "out")]) == 0
    assert "17,632 artists, 1,892 users, 92,834 plays" in capsys.readouterr().out
    ours = pq.read_table(tmp_path / "out" / "songs.parquet")
    theirs = pq.read_table(SHARED / "lastfm-2k" / "songs.parquet")
    for column in ("song_id", "title", "attribute_tags"):
        assert ours.column(column).to_pylist() == theirs.column(column).to_pylist()
    for column in ("user_id", "song_id", "plays"):
        plays = [
            pq.read_table(path / "plays.parquet").column(column) for path in (tmp_path / "out", SHARED / "lastfm-2k")
        ]
        assert plays[0].to_pylist() == plays[1].to_pylist()
    assert check(tmp_path / "out").missing[0] == pytest.approx(1 - 12_133 / 17_632)

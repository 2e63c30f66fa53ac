"""From songs to arrays, and batches cut by size: no server needed."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from serving.client import TLS, AsyncClient, Backoff, Client, Signature, TensorSpec
from serving.client.batches import join_outputs, split_rows
from serving.client.calls import Deadline
from serving.client.channel import check_target
from serving.client.inputs import as_input, exclude_input, k_input
from serving.client.json_songs import read_songs
from serving.client.operations import Operations
from serving.client.songs import as_songs, check_fields, song_arrays
from serving.protocol.protos import DATA_TYPES, PredictResponse, TensorProto
from serving.protocol.tensors import to_proto

STRING, FLOAT, INT = DATA_TYPES["DT_STRING"], DATA_TYPES["DT_FLOAT"], DATA_TYPES["DT_INT64"]
EMBED = Signature(
    "embed",
    {
        "attribute_genre": TensorSpec(STRING, (-1,)),
        "attribute_tags": TensorSpec(STRING, (-1, -1)),
        "audio_tempo": TensorSpec(FLOAT, (-1,)),
        "lyric_vector": TensorSpec(FLOAT, (-1, 3)),
    },
    {"embedding": TensorSpec(FLOAT, (-1, 4))},
)


def arrays(*songs: dict) -> dict[str, np.ndarray]:
    return song_arrays(songs, EMBED)


def test_every_kind_of_field() -> None:
    result = arrays(
        {"attribute_genre": "rock", "attribute_tags": ["a", "b"], "audio_tempo": 3, "lyric_vector": [1, 2.5, None]}
    )
    assert result["attribute_genre"].tolist() == [b"rock"]
    assert result["attribute_tags"].tolist() == [[b"", b"a", b"b"]]
    assert result["audio_tempo"].tolist() == [3.0] and result["audio_tempo"].dtype == np.float32
    np.testing.assert_array_equal(result["lyric_vector"], np.array([[1, 2.5, np.nan]], np.float32))


@pytest.mark.parametrize("song", [{}, dict.fromkeys(EMBED.inputs)], ids=["absent", "None"])
def test_what_a_song_lacks_is_missing(song: dict) -> None:
    result = arrays(song)
    assert result["attribute_genre"].tolist() == [b""]
    assert result["attribute_tags"].tolist() == [[b""]]
    assert math.isnan(result["audio_tempo"][0])
    assert np.isnan(result["lyric_vector"]).all() and result["lyric_vector"].shape == (1, 3)


def test_padding_comes_first_so_that_a_batching_server_pads_with_it() -> None:
    tags = arrays({"attribute_tags": ["a"]}, {"attribute_tags": ["b", "c"]})["attribute_tags"]
    assert tags.tolist() == [[b"", b"a", b""], [b"", b"b", b"c"]]


def test_arrow_tables_and_single_songs() -> None:
    table = pa.table({"attribute_genre": ["rock", None], "audio_tempo": [1.0, None]})
    assert as_songs(table) == as_songs(table.to_batches()[0]) == table.to_pylist()
    rows = pa.StructArray.from_arrays(table.to_batches()[0].columns, table.schema.names)
    assert as_songs(rows) == as_songs(list(rows)) == table.to_pylist()
    assert as_songs(rows[0]) == [{"attribute_genre": "rock", "audio_tempo": 1.0}]
    assert as_songs({"audio_tempo": 1}) == [{"audio_tempo": 1}]


@pytest.mark.parametrize("songs", ["rock", 3], ids=["str", "int"])
def test_songs_of_the_wrong_type(songs: object) -> None:
    with pytest.raises(TypeError, match=r"`songs` must be dicts or an Arrow table. Received"):
        as_songs(songs)


def test_a_song_that_is_no_dict() -> None:
    with pytest.raises(TypeError, match=r"`songs\[1\]` must be a dict of fields. Received: 'x'"):
        as_songs([{}, "x"])


def test_unknown_fields_are_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"`songs\[1\]`.*'attribute_genre'.*Received: \['atribute_genre', 'title'\]"):
        check_fields([{}, {"atribute_genre": "rock", "title": "x"}], EMBED)
    check_fields([{"title": "x", "song_id": "s1"}], EMBED, ignore=["title"])


@pytest.mark.parametrize(
    ("song", "text"),
    [
        ({"attribute_genre": 5}, r"`songs\[0\]\['attribute_genre'\]` must be a string or None. Received: 5"),
        ({"attribute_tags": "rock"}, r"\['attribute_tags'\]` must be a list of strings or None. Received: 'rock'"),
        ({"attribute_tags": [1]}, r"\['attribute_tags'\]` must be a string or None. Received: 1"),
        ({"audio_tempo": "fast"}, r"\['audio_tempo'\]` must be a finite number or None. Received: 'fast'"),
        ({"audio_tempo": True}, r"must be a finite number or None. Received: True"),
        ({"lyric_vector": 1.0}, r"\['lyric_vector'\]` must be a list of 3 numbers or None. Received: 1.0"),
    ],
)
def test_values_of_the_wrong_kind(song: dict, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        arrays(song)


@pytest.mark.parametrize(
    ("value", "text"), [(math.inf, "inf"), (-1e39, r"-1e\+39"), (10**400, "an integer of 1329 bits")]
)
def test_numbers_that_would_become_infinity(value: float, text: str) -> None:
    for song in ({"audio_tempo": value}, {"lyric_vector": [1, 2, value]}):
        (name,) = song
        expected = rf"`songs\[0\]\['{name}'\]` must be a finite number or None, at most 3.4028235e\+38 in size."
        with pytest.raises(ValueError, match=f"{expected} Received: {text}$"):
            arrays(song)
    largest = float(np.finfo(np.float32).max)
    assert arrays({"audio_tempo": -largest})["audio_tempo"].tolist() == [-largest]


def test_vectors_of_the_wrong_length() -> None:
    with pytest.raises(ValueError, match=r"`songs\[1\]\['lyric_vector'\]` must have 3 numbers. Received: 2"):
        arrays({}, {"lyric_vector": [1, 2]})


def test_integer_fields_cannot_be_missing() -> None:
    signature = Signature("embed", {"year": TensorSpec(INT, (-1,))}, {})
    assert song_arrays([{"year": 1999}], signature)["year"].tolist() == [1999]
    with pytest.raises(TypeError, match=r"`songs\[0\]\['year'\]` must be an integer. Received: None"):
        song_arrays([{}], signature)
    with pytest.raises(ValueError, match=rf"`songs\[0\]\['year'\]` must be an integer from {-(2**63)} to .*: {2**63}$"):
        song_arrays([{"year": 2**63}], signature)


def test_inputs_that_no_song_can_fill() -> None:
    signature = Signature("embed", {"cube": TensorSpec(FLOAT, (-1, 2, 2))}, {})
    with pytest.raises(
        TypeError, match=r"input `cube` must be of a kind that songs have. Received: float \(\?, 2, 2\)"
    ):
        song_arrays([{}], signature)


def test_exclude_is_each_songs_own_id_by_default() -> None:
    spec = TensorSpec(STRING, (-1,))
    songs = [{"song_id": "s1"}, {}]
    assert exclude_input(songs, None, spec).tolist() == [b"s1", b""]
    assert exclude_input(songs, ["x", None], spec).tolist() == [b"x", b""]
    integer = TensorSpec(INT, (-1,))
    assert exclude_input([{"song_id": 7}, {}, {"song_id": "9"}], None, integer).tolist() == [7, -1, 9]
    for wrong in ("x", 2.5, True):
        with pytest.raises(TypeError, match=f"`exclude.0.` must be an integer or None. Received: {wrong!r}"):
            exclude_input([{}], [wrong], integer)
    for far in (2**63, str(10**30), "9" * 9999):
        with pytest.raises(ValueError, match=rf"`exclude\[0\]` must be an integer from {-(2**63)} to {2**63 - 1}."):
            exclude_input([{"song_id": far}], None, integer)
    with pytest.raises(ValueError, match=r"`exclude` must have one id per song, 2 of them. Received: 1"):
        exclude_input(songs, ["x"], spec)
    with pytest.raises(TypeError, match=r"`exclude\[0\]` must be a string or None. Received: 7"):
        exclude_input([{"song_id": 7}], None, spec)


def test_k_is_one_number_per_song_or_one_for_all() -> None:
    assert k_input(5, 2, TensorSpec(DATA_TYPES["DT_INT32"], (-1,))).tolist() == [5, 5]
    assert k_input(5, 2, TensorSpec(DATA_TYPES["DT_INT32"], ())).tolist() == 5
    with pytest.raises(ValueError, match=f"`k` must be an integer from 1 to {2**31 - 1}. Received: {2**31}"):
        k_input(2**31, 2, TensorSpec(DATA_TYPES["DT_INT32"], (-1,)))


def test_raw_inputs_take_the_type_of_the_signature() -> None:
    assert as_input("x", [1, 2], TensorSpec(FLOAT, (-1,))).dtype == np.float32
    assert as_input("x", ["ä"], TensorSpec(STRING, (-1,))).tolist() == ["ä".encode()]
    assert as_input("x", [b"a"], TensorSpec(STRING, (-1,))).tolist() == [b"a"]
    with pytest.raises(TypeError, match=r"`inputs\['x'\]` must be DT_INT64. Received: dtype float64"):
        as_input("x", [1.5], TensorSpec(INT, (-1,)))
    with pytest.raises(TypeError, match=r"`inputs\['x'\]` must be DT_STRING. Received: dtype int64"):
        as_input("x", [1], TensorSpec(STRING, (-1,)))


def test_serialized_messages_keep_the_nul_bytes_at_their_end() -> None:
    example = b"\n\x0f\x12\x06\n\x04\xff\0\0\0"  # as a tf.Example whose last number is 0
    for given in ([example, b""], [[example], [b"x"]], (example, "x"), np.array([example, b""], object)):
        flat = as_input("examples", given, TensorSpec(STRING, (-1,))).ravel().tolist()
        assert flat[0] == example
        assert to_proto(given, TensorProto()).string_val[0] == example


def test_text_that_is_no_unicode_is_named() -> None:
    half = "\ud83d"
    with pytest.raises(ValueError, match=r"`songs\[1\]\['attribute_genre'\]` must be text that UTF-8 can hold.*ud83d"):
        arrays({}, {"attribute_genre": half})
    with pytest.raises(ValueError, match=r"`songs\[0\]\['attribute_tags'\]` must be text that UTF-8 can hold.*ud83d"):
        arrays({"attribute_tags": ["a", half]})
    with pytest.raises(ValueError, match=r"`exclude\[0\]` must be text that UTF-8 can hold"):
        exclude_input([{}], [half], TensorSpec(STRING, (-1,)))
    with pytest.raises(ValueError, match=r"`inputs\['x'\]` must be text that UTF-8 can hold"):
        as_input("x", [half], TensorSpec(STRING, (-1,)))
    with pytest.raises(TypeError, match=r"`inputs\['x'\]` must hold strings. Received: 7"):
        as_input("x", ["a", 7], TensorSpec(STRING, (-1,)))


def test_songs_as_lines_are_cut_at_line_feeds_alone(tmp_path: Path) -> None:
    songs = [{"attribute_genre": "a\u2028b\x85c"}, {"attribute_genre": "\u00e9"}]
    lines = "\r\n".join(json.dumps(song, ensure_ascii=False) for song in songs)
    (tmp_path / "songs.json").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    assert read_songs(lines) == read_songs(f"@{tmp_path / 'songs.json'}") == songs


def split(rows: int, limit: int, reply: int = 0) -> list[int]:
    values = dict(arrays(*[{"lyric_vector": [1, 2, 3]}] * rows).items())
    parts = list(split_rows(values, EMBED, limit, reply))
    covered = [row for part in parts for row in range(rows)[part]]
    assert covered == list(range(rows))
    return [len(range(rows)[part]) for part in parts]


def test_batches_are_cut_by_the_bytes_of_request_and_reply() -> None:
    row = 4 + 4 + 4 + 12  # two strings with their overhead, a number, a vector of three
    assert split(10, 4096 + 10 * row) == [10]
    assert split(10, 4096 + 4 * row) == [4, 4, 2]
    assert split(10, 4096 + 1000, reply=250) == [4, 4, 2]
    assert split(0, 4096) == [0]


def test_batches_are_cut_by_rows_where_their_replies_can_be_joined() -> None:
    values = arrays(*[{}] * 10)
    assert [p.stop - p.start for p in split_rows(values, EMBED, 9999, 0, max_rows=4)] == [4, 4, 2]
    assert list(split_rows(arrays({}), EMBED, 9999, 0, max_rows=1)) == [slice(0, 1)]
    total = Signature("total", EMBED.inputs, {**EMBED.outputs, "sum": TensorSpec(FLOAT, ())})
    assert list(split_rows(values, total, 9999, 0, max_rows=4)) == [slice(0, 10)]


def test_the_overhead_of_many_fields_counts() -> None:
    fields = {f"audio_some_long_feature_name_{number:04}": TensorSpec(FLOAT, (-1,)) for number in range(500)}
    operations = Operations("bcl", max_message_bytes=100_000, max_rows=None)
    operations._signatures = {"embed": Signature("embed", fields, {"embedding": TensorSpec(FLOAT, (-1, 4))})}
    steps = operations.embed([{}] * 100)
    call, rows = next(steps), 0
    while rows < 100:
        sent = call.request.inputs["audio_some_long_feature_name_0000"].tensor_shape.dim[0].size
        assert len(call.request.SerializeToString()) <= 100_000
        rows += sent
        reply = PredictResponse()
        to_proto(np.zeros((sent, 4), np.float32), reply.outputs["embedding"])
        if rows < 100:
            call = steps.send(reply)
    with pytest.raises(StopIteration) as end:
        steps.send(reply)
    assert end.value.value.shape == (100, 4)


def test_long_strings_count_by_their_length() -> None:
    values = arrays(*[{"attribute_genre": "x" * size} for size in (10, 3000, 10, 10)])
    parts = list(split_rows(values, EMBED, 4096 + 3060, 0))
    assert [len(range(4)[part]) for part in parts] == [2, 2]


def test_a_row_larger_than_a_message() -> None:
    with pytest.raises(
        ValueError, match=r"`max_message_bytes` must hold at least one row. Received: 5000, and row 1 takes"
    ):
        list(split_rows(arrays({}, {"attribute_genre": "x" * 2000}), EMBED, 5000, 0))


def test_unequal_or_missing_inputs() -> None:
    values = arrays({}, {})
    values["audio_tempo"] = values["audio_tempo"][:1]
    with pytest.raises(ValueError, match=r"`inputs` must have the same number of rows. Received: .*'audio_tempo': 1"):
        list(split_rows(values, EMBED, 9999, 0))
    del values["audio_tempo"]
    with pytest.raises(ValueError, match=r"unknown \['z'\], missing \['audio_tempo'\]"):
        list(split_rows({**values, "z": np.zeros(2)}, EMBED, 9999, 0))


def test_parts_without_a_row_per_song_cannot_be_joined() -> None:
    good = {"y": np.zeros((2, 3))}
    assert join_outputs([good, good], [2, 2])["y"].shape == (4, 3)
    with pytest.raises(
        ValueError, match=r"output 'y' of a batch sent in 2 messages must have 2 rows. Received: shape \[\]"
    ):
        join_outputs([good, {"y": np.float32(1)}], [2, 2])  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: check_target("http://localhost:8501"), "without http. Received: 'http://localhost:8501'"),
        (lambda: check_target("localhost"), "`target` must be host:port or unix:/path. Received: 'localhost'"),
        (lambda: TLS(cert="c"), "`cert` and `key` must be given together. Received: cert='c', key=None"),
        (lambda: Backoff(attempts=0), "`attempts` must be 1 to 5. Received: 0"),
        (lambda: Backoff(attempts=6), "`attempts` must be 1 to 5. Received: 6"),
        (lambda: Backoff(initial=0), "`initial` must be a positive number. Received: 0"),
        (lambda: Deadline(0), "`timeout` must be a positive number of seconds or None. Received: 0"),
        (lambda: Operations(""), "`model_name` must not be empty"),
        (lambda: Operations("m", version=1, version_label="a"), "exclude each other. Received: 1 and 'a'"),
        (lambda: Operations("m", max_rows=0), "`max_rows` must be 1 or more, or None. Received: 0"),
        (lambda: Operations("m", max_message_bytes=0), "`max_message_bytes` must be 1 or more. Received: 0"),
    ],
)
def test_settings_that_cannot_be(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_retries_as_grpc_reads_them() -> None:
    (entry,) = json.loads(Backoff(attempts=3, initial=0.25, multiplier=3.0, maximum=5).service_config())["methodConfig"]
    assert entry["name"] == [{}]  # every method
    assert entry["retryPolicy"] == {
        "maxAttempts": 3,
        "initialBackoff": "0.250000000s",
        "maxBackoff": "5.000000000s",
        "backoffMultiplier": 3.0,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    assert json.loads(Backoff(attempts=1).service_config()) == {}


def test_both_clients_have_the_same_operations() -> None:
    public = {name for name in vars(Client) if not name.startswith("_")} - {"wait_until_available"}
    assert public == {name for name in vars(AsyncClient) if not name.startswith("_")}
    assert public - {"close"} == {name for name in vars(Operations) if not name.startswith("_")}
    for client in (Client, AsyncClient):
        assert inspect.signature(client.status).return_annotation == "list[VersionStatus]"
        assert list(inspect.signature(client.embed).parameters) == [
            "self",
            "songs",
            "ignore",
            "with_known_fields",
            "timeout",
        ]
        assert "Embeds songs by their content." in (client.embed.__doc__ or "")

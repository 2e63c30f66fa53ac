"""Unusual TensorProtos are read as TensorFlow's own C++ reader (tf.io.parse_tensor) reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving.protocol import protos
from serving.protocol.data_types import array_dtype_name, dtype_name, numpy_dtype
from serving.protocol.tensors import from_proto, to_proto

DTYPES = protos.DATA_TYPES


def proto(dtype: str, shape: list[int], **values: Any) -> Any:
    message = protos.TensorProto(dtype=DTYPES[dtype], **values)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


ODD = {
    "one value fills up": proto("DT_FLOAT", [2, 2], float_val=[3.5]),
    "the last value fills up": proto("DT_INT64", [4], int64_val=[1, 2]),
    "no value is zero": proto("DT_DOUBLE", [2]),
    "no string is empty": proto("DT_STRING", [2]),
    "no bool is false": proto("DT_BOOL", [2]),
    "surplus is dropped": proto("DT_INT32", [1], int_val=[5, 6, 7]),
    "narrow types wrap round": proto("DT_INT8", [2], int_val=[300, -129]),
    "unsigned types wrap round": proto("DT_UINT8", [1], int_val=[-1]),
    "half is a pattern of bits": proto("DT_HALF", [2], half_val=[15360, 49152]),
    "complex comes in pairs": proto("DT_COMPLEX64", [2], scomplex_val=[1, 2, 3, 4]),
    "scalar": proto("DT_FLOAT", [], float_val=[2.0]),
    "empty with values": proto("DT_FLOAT", [0, 3], float_val=[1.0]),
    "unknown rank is a scalar": proto("DT_FLOAT", [], float_val=[2.0]),
    "strings in content": proto("DT_STRING", [2], tensor_content=b"\x01\x02abc"),
}


@pytest.mark.parametrize("name", ODD)
def test_reads_as_tensorflow_does(name: str) -> None:
    message = ODD[name]
    dtype = tf.as_dtype(message.dtype)
    expected = tf.io.parse_tensor(message.SerializeToString(), dtype).numpy()
    actual = from_proto(message)
    np.testing.assert_array_equal(actual, expected)
    assert actual.shape == expected.shape


ODD["unknown rank is a scalar"].tensor_shape.unknown_rank = True


BROKEN = {
    "no dtype": (proto("DT_FLOAT", [1]), "`dtype` must be one of"),
    "short content": (proto("DT_FLOAT", [2], tensor_content=b"1234567"), "must hold 8 bytes. Received: 7"),
    "long content": (proto("DT_INT32", [1], tensor_content=b"12345"), "must hold 4 bytes. Received: 5"),
    "negative size": (proto("DT_FLOAT", [-1], float_val=[1.0]), r"0 or more. Received: \[-1\]"),
    "huge": (proto("DT_FLOAT", [2**20, 2**20], float_val=[1.0]), "at most 2147483647 bytes"),
    "strings cut in their lengths": (proto("DT_STRING", [3], tensor_content=b"\x01"), "ends inside their lengths"),
    "strings of the wrong length": (proto("DT_STRING", [1], tensor_content=b"\x05ab"), "must hold 6 bytes"),
}
BROKEN["no dtype"][0].dtype = 0


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_what_tensorflow_refuses(name: str) -> None:
    message, text = BROKEN[name]
    with pytest.raises(ValueError, match=text):
        from_proto(message)
    if name != "huge":  # TensorFlow would take 4 TiB of memory.
        with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.InternalError)):
            tf.io.parse_tensor(message.SerializeToString(), tf.as_dtype(message.dtype or 1))


def test_writes_only_what_has_a_data_type() -> None:
    with pytest.raises(TypeError, match=r"`array` must hold numbers, booleans or strings. Received: dtype datetime64"):
        to_proto(np.array(["2020-01-01"], "datetime64[D]"), protos.TensorProto())
    with pytest.raises(TypeError, match=r"must hold str or bytes. Received: 3 of type int"):
        to_proto(np.array(["a", 3], object), protos.TensorProto())


def test_str_becomes_utf8() -> None:
    message = to_proto(["ä", "b"], protos.TensorProto())
    assert list(message.string_val) == ["ä".encode(), b"b"]


def test_names_of_types() -> None:
    assert (dtype_name(1), dtype_name(999)) == ("DT_FLOAT", "DT_999")
    assert (numpy_dtype(9), numpy_dtype(999)) == (np.dtype(np.int64), None)
    assert array_dtype_name(np.zeros(1, np.float32)) == "DT_FLOAT"
    assert array_dtype_name(np.zeros(1, "datetime64[D]")) == "datetime64[D]"


def test_one_value_is_not_repeated_without_end() -> None:
    """The reader's own bound, for those that read without a server's limits."""
    message = protos.TensorProto()
    message.dtype, count = 1, 2**24 + 1
    message.float_val.append(1.0)
    message.tensor_shape.dim.add(size=count)
    with pytest.raises(ValueError, match=rf"more than {64 * 2**20} bytes\. Received: 1 of {count}$"):
        from_proto(message)

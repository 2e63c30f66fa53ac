"""Checks of a request inside an exported graph: a wrong value ends the run with INVALID_ARGUMENT.

They are stock operations, so TensorFlow Serving refuses the same requests with the same words.
"""

from __future__ import annotations

import tensorflow as tf


def of_width(values: tf.Tensor, name: str, width: int) -> tf.Tensor:
    """Returns a tensor that must be `(n, width)`.

    Args:
        values: What a request sent under `name`.
        name: For the message.
        width: How many numbers a row has.
    """
    # A server feeds any shape. The graph must not count on that of the signature, as a graph optimizer would.
    sent = tf.raw_ops.PlaceholderWithDefault(input=values, shape=tf.TensorShape(None))
    row = tf.strings.reduce_join(tf.strings.as_string(tf.shape(sent)[1:]), separator=" x ")
    expected = f"{name}: expected {width} numbers for each song"
    return _checked(values, tf.equal(row, str(width)), expected, row)


def of_count(parsed: tf.SparseTensor, name: str, count: int) -> tf.SparseTensor:
    """Returns a feature of tf.Examples whose rows must have `count` values or none.

    Args:
        parsed: The feature, `(n, any)`.
        name: Of the feature, for the message.
        count: How many values a row has.
    """
    rows = parsed.indices[:, 0]
    counts = tf.math.unsorted_segment_sum(tf.ones_like(rows, tf.int32), rows, parsed.dense_shape[0])
    wrong = tf.logical_and(counts > 0, tf.not_equal(counts, count))
    received = tf.strings.reduce_join(tf.strings.as_string(tf.boolean_mask(counts, wrong)[:1]))
    expected = f"{name}: expected {count} value{'' if count == 1 else 's'} for each song, or none"
    values = _checked(parsed.values, tf.logical_not(tf.reduce_any(wrong)), expected, received)
    return tf.SparseTensor(parsed.indices, values, parsed.dense_shape)


def at_most_rows(values: tf.Tensor, name: str, most: int) -> tf.Tensor:
    """Returns a tensor that must have at most `most` rows.

    Args:
        values: What a request sent under `name`.
        name: For the message.
        most: Rows; 0 = any number.
    """
    if most == 0:
        return values
    rows = tf.shape(values)[0]
    return _checked(values, rows <= most, f"{name}: expected at most {most} rows", tf.strings.as_string(rows))


def within(values: tf.Tensor, name: str, least: int, most: int) -> tf.Tensor:
    """Returns integers that must lie between two bounds, both allowed.

    Args:
        values: What a request sent under `name`.
        name: For the message.
        least: The smallest.
        most: The largest.
    """
    wrong = tf.logical_or(values < least, values > most)
    received = tf.strings.reduce_join(tf.strings.as_string(tf.boolean_mask(values, wrong)[:1]))
    expected = f"{name}: expected an integer from {least} to {most} for each song"
    return _checked(values, tf.logical_not(tf.reduce_any(wrong)), expected, received)


def _checked(values: tf.Tensor, is_right: tf.Tensor, expected: str, received: tf.Tensor) -> tf.Tensor:
    """Returns values that nothing can use before the check has passed."""
    text = tf.strings.join([f"{expected}. Received: ", received])
    check = tf.debugging.Assert(is_right, [text])
    with tf.control_dependencies([] if check is None else [check]):  # there is no operation in eager mode
        return tf.identity(values)

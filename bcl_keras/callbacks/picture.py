"""A matrix as a picture, without an imaging library."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from bcl_keras.fields import Array

CELL_PIXELS = 16
# From no correlation to full: white to dark blue, which also reads in grey.
COLOURS = np.array([[255, 255, 255], [8, 48, 107]], dtype="float64")


def heatmap(matrix: Array, cell: int = CELL_PIXELS) -> Array:
    """Return a picture of a matrix of values in [0, 1], from white to dark blue.

    Args:
        matrix: `(rows, columns)`.
        cell: Pixels per entry along each axis. Defaults to 16.

    Returns:
        `(rows * cell, columns * cell, 3)` uint8.
    """
    share = np.clip(np.nan_to_num(matrix), 0.0, 1.0)[:, :, None]
    colours = np.rint((1.0 - share) * COLOURS[0] + share * COLOURS[1]).astype("uint8")
    return np.asarray(colours.repeat(cell, axis=0).repeat(cell, axis=1))


def encode_png(pixels: Array) -> bytes:
    """Return pixels `(height, width, 3)` uint8 as a PNG file.

    References:
        Portable Network Graphics, W3C: colour type 2, no filter. Written here because it is ten lines and an imaging
        library is more than the library itself.
    """
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

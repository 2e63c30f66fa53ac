"""What a served model takes and gives, read from its own metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.protocol import protos
from serving.protocol.data_types import dtype_name, numpy_dtype


@dataclass(frozen=True)
class TensorSpec:
    """Type and shape of one named input or output.

    Attributes:
        dtype: DataType number; `dtype_name` and `numpy_dtype` translate it.
        shape: Sizes, -1 where any will do; None where not even the rank is known.
    """

    dtype: int
    shape: tuple[int, ...] | None

    @property
    def is_string(self) -> bool:
        """Whether the values are strings."""
        return self.dtype == protos.DATA_TYPES["DT_STRING"]

    @property
    def per_row(self) -> bool:
        """Whether the first dimension counts the rows of a batch."""
        return bool(self.shape) and self.shape is not None and self.shape[0] == -1

    @property
    def per_match(self) -> bool:
        """Whether the second dimension may count the matches of a row."""
        return self.shape is None or (len(self.shape) > 1 and self.shape[1] == -1)

    def row_bytes(self) -> int:
        """Returns the bytes of one row, 0 where the signature does not tell. A string counts as 32."""
        dtype = numpy_dtype(self.dtype)
        if self.shape is None or dtype is None:
            return 0
        size = 32 if self.is_string else dtype.itemsize
        for dimension in self.shape[1:]:
            size *= max(dimension, 1)
        return size

    def __str__(self) -> str:
        shape = (
            "unknown shape" if self.shape is None else f"({', '.join('?' if d < 0 else str(d) for d in self.shape)})"
        )
        return f"{dtype_name(self.dtype)[3:].lower()} {shape}"


@dataclass(frozen=True)
class Signature:
    """One signature of a served model; inputs and outputs sorted by name."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


def _spec(info: Any) -> TensorSpec:
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(info.dtype, shape)


def read_signatures(response: Any) -> dict[str, Signature]:
    """Returns the signatures of a GetModelMetadataResponse, without TensorFlow's initialisers."""
    signatures = protos.SignatureDefMap.FromString(response.metadata["signature_def"].value)
    return {
        name: Signature(
            name,
            {key: _spec(info) for key, info in sorted(definition.inputs.items())},
            {key: _spec(info) for key, info in sorted(definition.outputs.items())},
        )
        for name, definition in sorted(signatures.signature_def.items())
        if not name.startswith("__saved_model_")
    }

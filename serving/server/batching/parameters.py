"""The settings of batching, with TensorFlow Serving's defaults."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass

from serving.protocol.errors import invalid_argument
from serving.server.config_files import read_text_proto


@dataclass(frozen=True)
class BatchParameters:
    """How requests are joined.

    Attributes:
        max_batch_size: Rows of the largest request, and of a batch unless `max_execution_batch_size` says otherwise.
        batch_timeout_micros: How long the first request of a batch may wait for more; 0 = not at all.
        max_enqueued_batches: Batches that may wait, per signature; further requests are UNAVAILABLE.
        num_batch_threads: Batches that run at the same time.
        allowed_batch_sizes: Sizes that batches are filled up to; empty = any.
        pad_variable_length_inputs: Fill up shorter rows with the first value of their request, instead of refusing.
        enable_large_batch_splitting: Cut requests that are larger than what is left of a batch.
        max_execution_batch_size: Largest batch with splitting; 0 = `max_batch_size`.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise invalid_argument(f"{name} must be positive; was {getattr(self, name)}")
        if self.batch_timeout_micros < 0:
            raise invalid_argument(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        sizes = self.allowed_batch_sizes
        if any(later <= earlier for earlier, later in itertools.pairwise(sizes)):
            raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.execution_size:
            name = "max_execution_batch_size" if self.enable_large_batch_splitting else "max_batch_size"
            raise invalid_argument(
                f"Last entry in allowed_batch_sizes must match {name}; last entry was {sizes[-1]}; "
                f"expected {self.execution_size}"
            )

    @property
    def execution_size(self) -> int:
        """Rows of the largest batch."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size:
            return self.max_execution_batch_size
        return self.max_batch_size

    def padded(self, size: int) -> int:
        """Returns the smallest allowed size that holds `size` rows."""
        return next((allowed for allowed in self.allowed_batch_sizes if allowed >= size), size)


def read_batch_parameters(path: str) -> BatchParameters:
    """Reads `--batching_parameters_file`; defaults for no file.

    Raises:
        RequestError: If the file cannot be read or its values do not fit.
    """
    if not path:
        return BatchParameters()
    proto = read_text_proto(path, "BatchingParameters")
    wrapped = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    given = {name: getattr(proto, name).value for name in wrapped if proto.HasField(name)}
    return BatchParameters(
        **given,
        allowed_batch_sizes=tuple(proto.allowed_batch_sizes),
        pad_variable_length_inputs=proto.pad_variable_length_inputs,
        enable_large_batch_splitting=proto.enable_large_batch_splitting,
        max_execution_batch_size=proto.max_execution_batch_size.value,
    )

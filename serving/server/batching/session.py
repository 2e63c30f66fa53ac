"""A session that joins concurrent requests of a signature into one run.

Source: tensorflow_serving/batching/{batching_session,batching_util}.cc.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from serving.protocol.data_types import array_dtype_name
from serving.protocol.errors import RequestError, failed_precondition, internal, invalid_argument
from serving.savedmodel.session import Array, SavedModelSession
from serving.server.batching.parameters import BatchParameters
from serving.server.batching.scheduler import BatchScheduler, Queue, Task
from serving.server.metrics import Metrics
from serving.server.work import Work

Feeds = Sequence[tuple[str, Array]]


class BatchingSession:
    """In front of one SavedModelSession; only whole signatures are batched, other runs pass through.

    Args:
        session: What runs the batches.
        scheduler: Shared by all models of the server.
        metrics: Where the batches are counted.
    """

    def __init__(self, session: SavedModelSession, scheduler: BatchScheduler, metrics: Metrics) -> None:
        self._session = session
        self._scheduler = scheduler
        self._metrics = metrics
        self._queues: dict[tuple[frozenset[str], frozenset[str]], Queue] = {}
        for signature in session.signatures.values():
            inputs = frozenset(info.name for info in signature.inputs.values())
            outputs = frozenset(info.name for info in signature.outputs.values())
            if inputs and (inputs, outputs) not in self._queues:
                fetches = sorted(outputs)
                self._queues[inputs, outputs] = scheduler.add_queue(
                    lambda tasks, fetches=fetches: self._run_batch(tasks, fetches)  # type: ignore[misc]
                )

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int | None = None, work: Work | None = None
    ) -> list[Array]:
        """Returns what SavedModelSession.run returns, once the batch that holds this request has run.

        A request whose client leaves before that is in no batch.
        """
        queue = self._queues.get((frozenset(name for name, _ in feeds), frozenset(fetches)))
        if queue is None:
            return self._session.run(feeds, fetches, timeout_ms)
        size = _rows(feeds)
        deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        work = work or Work()
        tasks = queue.submit(
            size, lambda sizes: [Task(part, rows, deadline, work) for part, rows in _cut(feeds, sizes)]
        )
        results = [task.result() for task in tasks]
        if len(results) == 1:
            return [results[0][name] for name in fetches]
        return [np.concatenate([result[name] for result in results]) for name in fetches]

    def close(self) -> None:
        """Leaves the scheduler; the session itself stays open."""
        for queue in self._queues.values():
            self._scheduler.remove_queue(queue)
        self._queues.clear()

    def _run_batch(self, tasks: Sequence[Task], fetches: Sequence[str]) -> None:
        parameters = self._scheduler.parameters
        timeout_ms = _timeout_ms(tasks)
        size = sum(task.size for task in tasks)
        padding = parameters.padded(size) - size if size else 0
        feeds = _merge([task.inputs for task in tasks], padding, parameters)
        self._metrics.batches.inc()
        self._metrics.batch_rows.observe(size)
        values = dict(zip(fetches, self._session.run(feeds, fetches, timeout_ms), strict=True))
        for value in values.values():
            if value.ndim == 0:
                raise failed_precondition("Batched output tensor has 0 dimensions")
            if len(value) != size + padding:
                raise failed_precondition(
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                    "input tensors"
                )
        start = 0
        for task in tasks:
            task.outputs = {name: value[start : start + task.size] for name, value in values.items()}
            start += task.size


def _rows(feeds: Feeds) -> int:
    sizes = set()
    for _, value in feeds:
        if value.ndim == 0:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        sizes.add(len(value))
    if len(sizes) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _cut(feeds: Feeds, sizes: Sequence[int]) -> list[tuple[Feeds, int]]:
    if len(sizes) == 1:
        return [(feeds, sizes[0])]
    parts: list[tuple[Feeds, int]] = []
    start = 0
    for size in sizes:
        parts.append(([(name, value[start : start + size]) for name, value in feeds], size))
        start += size
    return parts


def _timeout_ms(tasks: Sequence[Task]) -> int | None:
    """Returns the longest time that any request of the batch has left."""
    deadlines = [task.deadline for task in tasks]
    if any(deadline is None for deadline in deadlines):
        return None
    left = max(deadline for deadline in deadlines if deadline is not None) - time.monotonic()
    if left <= 0:
        # TensorFlow Serving's code here, in place of DEADLINE_EXCEEDED.
        raise RequestError.from_number(8, "Run() timeout exceeded while waiting in batching queue")
    return max(1, int(left * 1000))


def _merge(inputs: Sequence[Feeds], padding: int, parameters: BatchParameters) -> list[tuple[str, Array]]:
    merged = []
    parts = [dict(feeds) for feeds in inputs]
    for name in sorted(parts[0]):
        values = [part[name] for part in parts]
        if parameters.pad_variable_length_inputs:
            values = _pad(values)
        elif any(value.shape[1:] != values[0].shape[1:] for value in values):
            raise failed_precondition(
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off."
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
                "have equal dimensions starting with the first dim."
            )
        if padding:
            values += [values[-1][:1]] * padding
        merged.append((name, _concatenate(values)))
    return merged


def _pad(values: Sequence[Array]) -> list[Array]:
    """Grows all to the largest trailing shape; the new cells get the first element of each."""
    if any(value.ndim != values[0].ndim for value in values):
        return list(values)
    largest = np.max([value.shape[1:] for value in values], axis=0).astype(int)
    padded = []
    for value in values:
        target = (len(value), *largest.tolist())
        if value.shape == target:
            padded.append(value)
            continue
        if value.size == 0:
            raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
        grown: Array = np.full(target, value.ravel()[0], value.dtype)
        grown[tuple(slice(size) for size in value.shape)] = value
        padded.append(grown)
    return padded


def _concatenate(values: Sequence[Array]) -> Array:
    """Joins without numpy's conversions, which would hide that requests disagree."""
    for value in values:
        if value.dtype != values[0].dtype:
            first, other = (array_dtype_name(array)[3:].lower() for array in (values[0], value))
            raise internal(
                "Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors that have different "
                f"data types. Got {first} and {other}."
            )
    if any(value.ndim != values[0].ndim for value in values):
        raise internal("Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors of unequal rank.")
    return values[0] if len(values) == 1 else np.concatenate(values)

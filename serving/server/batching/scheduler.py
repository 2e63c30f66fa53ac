"""Queues of requests that become batches, and the threads that run them.

Source: tensorflow/core/kernels/batching_util/shared_batch_scheduler.h: one pool of threads for all queues, a queue per
model and signature, the tail batch of a queue open for more requests until it is full or its time is up.

Two things differ here. Where a batch fails, TensorFlow Serving fails all its requests. Here each runs again alone. And
a batch runs before its time is up when as many requests are there as lately at most, so that nobody waits for clients
that do not exist. `--batch_whole_timeout` turns this off.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from serving.protocol.errors import RequestError, internal, invalid_argument, unavailable
from serving.server.batching.parameters import BatchParameters
from serving.server.batching.presence import Presence
from serving.server.work import Work, client_left

# Seconds that the threads have for what they run when the scheduler stops.
_LAST_BATCH = 1.0


@dataclass(eq=False)
class Task:
    """One request, or a part of one, in a queue.

    Attributes:
        inputs: What `run_batch` gets.
        size: Rows.
        deadline: The time.monotonic() at which the client's time is over, None = no limit.
        work: Whether its client still waits.
    """

    inputs: Any
    size: int
    deadline: float | None = None
    work: Work = field(default_factory=Work)
    outputs: Any = None
    error: RequestError | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def result(self) -> Any:
        """Waits for the batch and returns the outputs.

        Raises:
            RequestError: If this task fails by itself, too. What fails only beside other tasks is run again alone.
                CANCELLED as soon as the client leaves.
        """
        with self.work.waking(self.done.set):
            self.done.wait()
        if self.work.is_left:
            raise client_left()
        if self.error is not None:
            raise self.error
        return self.outputs


@dataclass(eq=False)
class _Batch:
    tasks: list[Task] = field(default_factory=list)
    size: int = 0
    opened: float = 0.0


class Queue:
    """Requests for one signature.

    Args:
        scheduler: Whose threads run the batches.
        run_batch: Sets the outputs of all its tasks, or raises. Then it is called again for each task alone.
    """

    def __init__(self, scheduler: BatchScheduler, run_batch: Callable[[Sequence[Task]], None]) -> None:
        self._scheduler = scheduler
        self.run_batch = run_batch
        self.batches: deque[_Batch] = deque([_Batch()])
        self.presence = Presence()

    def submit(self, size: int, cut: Callable[[Sequence[int]], Sequence[Task]]) -> Sequence[Task]:
        """Puts a request into the queue.

        Args:
            size: Its rows.
            cut: Makes tasks of the given sizes out of the request; one size unless it has to be split.

        Raises:
            RequestError: If it is larger than a batch may be, or the queue is full.
        """
        parameters = self._scheduler.parameters
        if size > parameters.max_batch_size:
            raise invalid_argument(
                f"Task size {size} is larger than maximum input batch size {parameters.max_batch_size}"
            )
        with self._scheduler.changed:
            self._scheduler.check_open()
            tasks = cut(self._sizes(size))
            before = self.ready_at()
            self.presence.change(len(tasks))
            for task in tasks:
                self._append(task)
            # A request that joins a batch needs no notification: a thread waits for that batch, or all are busy.
            if self.ready_at() != before:
                self._scheduler.changed.notify()
        return tasks

    def _sizes(self, size: int) -> list[int]:
        """Returns the sizes that the request is cut into, once it is known to fit into the queue."""
        parameters = self._scheduler.parameters
        limit, tail = parameters.execution_size, self.batches[-1]
        free = limit - tail.size
        spare_batches = parameters.max_enqueued_batches - len(self.batches)
        if parameters.enable_large_batch_splitting:
            capacity = spare_batches * limit + free
            if size > capacity:
                raise unavailable(
                    "The batch scheduling queue to which this task was submitted is full; task size is "
                    f"{size} but scheduling capacity is only {capacity} (num_enqueued_batches={len(self.batches)}, "
                    f"max_enqueued_batches={parameters.max_enqueued_batches}, open_batch_size={tail.size}, "
                    f"max_execution_batch_size={limit})"
                )
            if size > free:
                rest = size - free
                parts = [free, *[limit] * (rest // limit), rest % limit]
                return [part for part in parts if part]
        elif size > free and spare_batches <= 0:
            raise unavailable(
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{len(self.batches)} batches enqueued and max_enqueued_batches is {parameters.max_enqueued_batches}"
            )
        return [size]

    def _append(self, task: Task) -> None:
        if self.batches[-1].size + task.size > self._scheduler.parameters.execution_size and self.batches[-1].tasks:
            self.batches.append(_Batch())
        tail = self.batches[-1]
        if not tail.tasks:
            tail.opened = time.monotonic()
        tail.tasks.append(task)
        tail.size += task.size

    def ready_at(self) -> float | None:
        """Returns when its first batch may run, None without one."""
        first = self.batches[0]
        if not first.tasks:
            return None
        if len(self.batches) > 1 or first.size >= self._scheduler.parameters.execution_size:
            return 0.0
        if not self._scheduler.waits_whole_timeout and self.presence.is_complete():
            return 0.0
        return first.opened + self._scheduler.parameters.batch_timeout_micros / 1e6

    def take(self) -> Sequence[Task]:
        """Removes the first batch and returns its tasks."""
        batch = self.batches.popleft()
        self.presence.batch_taken()
        if not self.batches:
            self.batches.append(_Batch())
        return batch.tasks


class BatchScheduler:
    """The threads that run batches of all queues, in turn.

    Args:
        parameters: The settings.
        waits_whole_timeout: Whether a batch with room always waits for `batch_timeout_micros`, as TensorFlow Serving's.
    """

    def __init__(self, parameters: BatchParameters, *, waits_whole_timeout: bool = False) -> None:
        self.parameters = parameters
        self.waits_whole_timeout = waits_whole_timeout
        self.changed = threading.Condition()
        self._queues: deque[Queue] = deque()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"serving-batch-{number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def add_queue(self, run_batch: Callable[[Sequence[Task]], None]) -> Queue:
        """Opens a queue."""
        queue = Queue(self, run_batch)
        with self.changed:
            self._queues.append(queue)
        return queue

    def remove_queue(self, queue: Queue) -> None:
        """Closes a queue, and refuses the tasks that still wait in it."""
        with self.changed:
            self._queues.remove(queue)
            left = [task for batch in queue.batches for task in batch.tasks]
            queue.batches = deque([_Batch()])
        _finish(left, unavailable("the model was unloaded"))

    def waiting(self) -> int:
        """Returns how many tasks wait in all queues."""
        with self.changed:
            return sum(len(batch.tasks) for queue in self._queues for batch in queue.batches)

    def check_open(self) -> None:
        """Raises UNAVAILABLE once the scheduler was stopped."""
        if self._stopping:
            raise unavailable("the server is shutting down")

    def stop(self) -> None:
        """Runs what waits, then ends the threads; one whose batch does not end is left behind."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
        end = time.monotonic() + _LAST_BATCH
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _next(self) -> tuple[Queue, Sequence[Task]] | None:
        """Waits for a batch; None when the scheduler has stopped and nothing waits."""
        with self.changed:
            while True:
                now, earliest = time.monotonic(), None
                for _ in range(len(self._queues)):
                    queue = self._queues[0]
                    self._queues.rotate(-1)
                    ready = queue.ready_at()
                    if ready is not None and (ready <= now or self._stopping):
                        tasks = queue.take()
                        self.changed.notify()  # someone else looks after what is left
                        return queue, tasks
                    if ready is not None:
                        earliest = ready if earliest is None else min(earliest, ready)
                if self._stopping:
                    return None
                self.changed.wait(None if earliest is None else earliest - now)

    def _work(self) -> None:
        while (found := self._next()) is not None:
            queue, taken = found
            _finish([task for task in taken if task.work.is_left], client_left())
            if not (tasks := [task for task in taken if not task.work.is_left]):
                continue
            error = _run(queue, tasks)
            if error is None or len(tasks) == 1 or error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                # A batch runs as long as its most patient task may, so no task has time left after its deadline.
                self._end(queue, tasks, error)
                continue
            # One bad request must not fail the others, nor may its bytes in the error's text reach their clients.
            for task in tasks:
                self._end(queue, [task], _run(queue, [task]))

    def _end(self, queue: Queue, tasks: Sequence[Task], error: RequestError | None) -> None:
        # Before their clients can ask again.
        with self.changed:
            queue.presence.change(-len(tasks))
        _finish(tasks, error)


def _run(queue: Queue, tasks: Sequence[Task]) -> RequestError | None:
    """Runs tasks as one batch and returns why it failed; None where it did not."""
    try:
        queue.run_batch(tasks)
    except RequestError as error:
        return error
    except Exception as error:
        return internal(f"{type(error).__name__}: {error}")
    return None


def _finish(tasks: Sequence[Task], error: RequestError | None) -> None:
    """Lets the clients of tasks have their outputs, or the error."""
    for task in tasks:
        task.error = error
        task.done.set()

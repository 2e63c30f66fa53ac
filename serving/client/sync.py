"""The client for code that waits for its answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import grpc

from serving.client.calls import ServingError, Steps
from serving.client.connection import Connection, document
from serving.client.operations import Operations
from serving.client.results import VersionStatus

P = ParamSpec("P")
T = TypeVar("T")


def _waited_for(
    operation: Callable[Concatenate[Operations, P], Steps[T]],
) -> Callable[Concatenate[Client, P], T]:
    """Returns an operation as a method that carries its calls out and returns its result."""

    def method(client: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return client._carry_out(operation(client._operations, *args, **kwargs))

    document(method, operation)
    return method


class Client(Connection):
    """Asks one model of TensorFlow Serving, or of the embedded server, over gRPC.

    One channel serves all calls and threads; close it, or use the client as a context manager. The model's own
    metadata, asked for once, say which inputs a signature has and of which type. Arguments are those of `Connection`.

    Raises:
        ServingError: (from every operation) The server refused, or could not be reached.
        ValueError: (from every operation) The input does not fit the model; nothing was sent.
        TypeError: (from every operation) As ValueError.
    """

    _library = grpc

    predict = _waited_for(Operations.predict)
    embed = _waited_for(Operations.embed)
    match = _waited_for(Operations.match)
    explain = _waited_for(Operations.explain)
    chances = _waited_for(Operations.chances)
    metadata = _waited_for(Operations.metadata)
    status = _waited_for(Operations.status)

    def wait_until_available(self, timeout: float = 60.0, poll: float = 0.2) -> list[VersionStatus]:
        """Waits until a version answers, and returns all versions.

        Args:
            timeout: Seconds; default 60.
            poll: Seconds between two questions; default 0.2.

        Raises:
            TimeoutError: If none answers in time; with the last reply.
        """
        deadline, last = time.monotonic() + timeout, ""
        while time.monotonic() < deadline:
            try:
                versions = self.status(timeout=max(0.1, deadline - time.monotonic()))
                if any(version.state == "AVAILABLE" for version in versions):
                    return versions
                last = str(versions)
            except ServingError as error:
                last = str(error)
            time.sleep(poll)
        raise TimeoutError(f"no version of {self._operations.model_name} became available in {timeout} s; last: {last}")

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _carry_out(self, steps: Steps[T]) -> T:
        try:
            call = next(steps)
            while True:
                try:
                    reply = self._stubs[call.method](
                        call.request, timeout=call.deadline.left(), metadata=self._metadata
                    )
                except grpc.RpcError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(reply)
        except StopIteration as done:
            return done.value

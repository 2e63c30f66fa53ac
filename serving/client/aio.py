"""The client for asyncio: the same operations as `serving.client.sync.Client`, awaited."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import grpc
import grpc.aio

from serving.client.calls import Steps
from serving.client.connection import Connection, document
from serving.client.operations import Operations

P = ParamSpec("P")
T = TypeVar("T")


def _awaited(
    operation: Callable[Concatenate[Operations, P], Steps[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """Returns an operation as a coroutine method that carries its calls out and returns its result."""

    async def method(client: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await client._carry_out(operation(client._operations, *args, **kwargs))

    document(method, operation)
    return method


class AsyncClient(Connection):
    """`Client` for asyncio. Arguments, results and errors of every operation are those of `serving.client.Client`.

    Create and use it inside one running event loop; close it, or use it as an async context manager.
    """

    _library = grpc.aio

    predict = _awaited(Operations.predict)
    embed = _awaited(Operations.embed)
    match = _awaited(Operations.match)
    explain = _awaited(Operations.explain)
    chances = _awaited(Operations.chances)
    metadata = _awaited(Operations.metadata)
    status = _awaited(Operations.status)

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _carry_out(self, steps: Steps[T]) -> T:
        try:
            call = next(steps)
            while True:
                try:
                    reply = await self._stubs[call.method](
                        call.request, timeout=call.deadline.left(), metadata=self._metadata
                    )
                except grpc.RpcError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(reply)
        except StopIteration as done:
            return done.value

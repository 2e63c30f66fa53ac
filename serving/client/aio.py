"""The client for asyncio: the same operations as `serving.client.sync.Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

import grpc
import grpc.aio
import numpy as np

from serving.client.channel import DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_MAX_ROWS, TLS, channel_options, check_target
from serving.client.known_fields import warn_of_unknown
from serving.client.operations import METHODS, Call, Explained, Operations, Steps, VersionStatus
from serving.client.retry import Backoff, Deadline, ServingError, may_retry
from serving.client.signatures import Signature

T = TypeVar("T")
Array = np.ndarray[Any, Any]


class AsyncClient:
    """`Client` for asyncio. Arguments, results and errors of every operation are those of `serving.client.Client`.

    Create and use it inside one running event loop; close it, or use it as an async context manager.
    """

    def __init__(
        self,
        target: str,
        *,
        model_name: str = "bcl",
        version: int | None = None,
        version_label: str | None = None,
        timeout: float | None = 10.0,
        tls: TLS | None = None,
        backoff: Backoff | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        max_rows: int | None = DEFAULT_MAX_ROWS,
    ) -> None:
        self.target = check_target(target)
        self.timeout = timeout
        self._operations = Operations(
            model_name,
            version=version,
            version_label=version_label,
            max_message_bytes=max_message_bytes,
            max_rows=max_rows,
        )
        self._backoff = backoff or Backoff()
        options = channel_options(max_message_bytes)
        if tls is None:
            self._channel = grpc.aio.insecure_channel(target, options)
        else:
            self._channel = grpc.aio.secure_channel(target, tls.credentials(), options)
        self._stubs = {
            method: self._channel.unary_unary(
                method.path,
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=method.reply.FromString,
            )
            for method in METHODS
        }

    async def predict(
        self, inputs: Mapping[str, Any], signature: str = "serving_default", *, timeout: float | None = None
    ) -> dict[str, Array]:
        """Run any signature; see `Client.predict`."""
        return await self._drive(self._operations.predict(inputs, signature), timeout)

    @overload
    async def embed(
        self,
        songs: Any,
        *,
        ignore: Collection[str] = (),
        with_known_fields: Literal[False] = False,
        timeout: float | None = None,
    ) -> Array: ...

    @overload
    async def embed(
        self,
        songs: Any,
        *,
        ignore: Collection[str] = (),
        with_known_fields: Literal[True],
        timeout: float | None = None,
    ) -> tuple[Array, Array | None]: ...

    async def embed(
        self,
        songs: Any,
        *,
        ignore: Collection[str] = (),
        with_known_fields: bool = False,
        timeout: float | None = None,
    ) -> Array | tuple[Array, Array | None]:
        """Embed songs by their content, (n, d) float32; see `Client.embed`."""
        embeddings, known_fields = await self._drive(self._operations.embed(songs, ignore), timeout)
        warn_of_unknown(known_fields)
        return (embeddings, known_fields) if with_known_fields else embeddings

    @overload
    async def match(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        with_known_fields: Literal[False] = False,
        timeout: float | None = None,
    ) -> tuple[Array, Array]: ...

    @overload
    async def match(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        with_known_fields: Literal[True],
        timeout: float | None = None,
    ) -> tuple[Array, Array, Array | None]: ...

    async def match(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        with_known_fields: bool = False,
        timeout: float | None = None,
    ) -> tuple[Array, Array] | tuple[Array, Array, Array | None]:
        """Find similar songs: `(ids, scores)`, each (n, k); see `Client.match`."""
        steps = self._operations.match(songs, k, exclude, ignore)
        ids, scores, known_fields = await self._drive(steps, timeout)
        warn_of_unknown(known_fields)
        return (ids, scores, known_fields) if with_known_fields else (ids, scores)

    async def explain(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        timeout: float | None = None,
    ) -> Explained:
        """Find similar songs and what each part of a song gives to each score; see `Client.explain`."""
        explained, known_fields = await self._drive(self._operations.explain(songs, k, exclude, ignore), timeout)
        warn_of_unknown(known_fields)
        return explained

    async def metadata(self, *, refresh: bool = False, timeout: float | None = None) -> dict[str, Signature]:
        """Signatures by name; see `Client.metadata`."""
        if refresh:
            self._operations.forget()
        return await self._drive(self._operations.metadata(), timeout)

    async def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """Versions of the model, highest first."""
        return await self._drive(self._operations.status(), timeout)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _drive(self, steps: Steps[T], timeout: float | None) -> T:
        deadline = Deadline(self.timeout if timeout is None else timeout)
        try:
            call = next(steps)
            while True:
                call = steps.send(await self._send(call, deadline))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def _send(self, call: Call, deadline: Deadline) -> Any:
        waits = self._backoff.waits()
        while True:
            try:
                return await self._stubs[call.method](call.request, timeout=deadline.left())
            except grpc.aio.AioRpcError as error:
                wait = next(waits, None) if may_retry(error) else None
                if wait is None or not deadline.allows(wait):
                    self._operations.note_failure(error)
                    raise ServingError.from_rpc(error, method=call.method.name, target=self.target) from error
                await asyncio.sleep(wait)

"""The client for code that waits for its answers."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

import grpc
import numpy as np

from serving.client.channel import DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_MAX_ROWS, TLS, channel_options, check_target
from serving.client.known_fields import warn_of_unknown
from serving.client.operations import METHODS, Call, Explained, Operations, Steps, VersionStatus
from serving.client.retry import Backoff, Deadline, ServingError, may_retry
from serving.client.signatures import Signature

T = TypeVar("T")
Array = np.ndarray[Any, Any]


class Client:
    """Asks one model of TensorFlow Serving, or of the embedded server, over gRPC.

    One channel serves all calls and threads; close it, or use the client as a context manager. The model's own
    metadata, asked for once, say which inputs a signature has and of which type.

    Args:
        target: `host:port` or `unix:/path`.
        model_name: default "bcl".
        version, version_label: which version answers; default the latest.
        timeout: seconds for a whole operation, its retries and all parts of a split batch; default 10, None = no limit.
        tls: certificates; None = plain text.
        backoff: retries on UNAVAILABLE, and on nothing else.
        max_message_bytes: larger batches are sent in several messages; default 4 MiB.
        max_rows: so are batches of more rows, where every output has a row per row; default 256, as many as
            serving/config/batching.config lets a message have. None = no limit, for a server without batching.

    Raises:
        ServingError: (from every operation) the server refused, or could not be reached.
        ValueError, TypeError: (from every operation) the input does not fit the model; nothing was sent.
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
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, tls.credentials(), options)
        self._stubs = {
            method: self._channel.unary_unary(
                method.path,
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=method.reply.FromString,
            )
            for method in METHODS
        }

    def predict(
        self, inputs: Mapping[str, Any], signature: str = "serving_default", *, timeout: float | None = None
    ) -> dict[str, Array]:
        """Run any signature.

        Args:
            inputs: an array, or what numpy makes one of, per input of the signature.
            signature: default "serving_default".
            timeout: seconds; default the client's.

        Returns:
            Arrays by name of output; strings as object arrays of bytes.
        """
        return self._drive(self._operations.predict(inputs, signature), timeout)

    @overload
    def embed(
        self,
        songs: Any,
        *,
        ignore: Collection[str] = (),
        with_known_fields: Literal[False] = False,
        timeout: float | None = None,
    ) -> Array: ...

    @overload
    def embed(
        self,
        songs: Any,
        *,
        ignore: Collection[str] = (),
        with_known_fields: Literal[True],
        timeout: float | None = None,
    ) -> tuple[Array, Array | None]: ...

    def embed(
        self,
        songs: Any,
        *,
        ignore: Collection[str] = (),
        with_known_fields: bool = False,
        timeout: float | None = None,
    ) -> Array | tuple[Array, Array | None]:
        """Embed songs by their content.

        Args:
            songs: a dict of raw fields, several, or an Arrow table; an absent field or None is missing. `song_id` may
                stand among them.
            ignore: further columns that are not fields (title, artist); any other unknown field is refused.
            with_known_fields: whether to return `known_fields`, too; default False.
            timeout: seconds; default the client's.

        Returns:
            Embeddings (n, d) float32; or `(embeddings, known_fields)`, the latter (n,) int32: how many fields of each
            song the model knows, None where the model was exported without this output.

        Warns:
            UnknownSongWarning: the model knows no field of a song.
        """
        embeddings, known_fields = self._drive(self._operations.embed(songs, ignore), timeout)
        warn_of_unknown(known_fields)
        return (embeddings, known_fields) if with_known_fields else embeddings

    @overload
    def match(
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
    def match(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        with_known_fields: Literal[True],
        timeout: float | None = None,
    ) -> tuple[Array, Array, Array | None]: ...

    def match(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        with_known_fields: bool = False,
        timeout: float | None = None,
    ) -> tuple[Array, Array] | tuple[Array, Array, Array | None]:
        """Find the songs of the index that are most similar to each song.

        Args:
            songs: as in `embed`.
            k: how many; default 10. Fewer come back where the index has fewer, or the model gives no more.
            exclude: per song an id that must not come back, or None; default each song's own `song_id`.
            ignore, with_known_fields, timeout: as in `embed`.

        Returns:
            `(ids, scores)`, each (n, k), best first; or `(ids, scores, known_fields)`, the last as in `embed`.

        Warns:
            UnknownSongWarning: the model knows no field of a song, so that its matches are not similar to it.
        """
        steps = self._operations.match(songs, k, exclude, ignore)
        ids, scores, known_fields = self._drive(steps, timeout)
        warn_of_unknown(known_fields)
        return (ids, scores, known_fields) if with_known_fields else (ids, scores)

    def explain(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        timeout: float | None = None,
    ) -> Explained:
        """Find similar songs as `match` does, and what each part of a song gives to each score.

        The model must have been exported with the signature `explain` (setting `explain` of the pipeline).

        Args:
            songs, k, exclude, ignore, timeout: as in `match`.

        Raises:
            ValueError: the model has no such signature.

        Warns:
            UnknownSongWarning: as in `match`.
        """
        explained, known_fields = self._drive(self._operations.explain(songs, k, exclude, ignore), timeout)
        warn_of_unknown(known_fields)
        return explained

    def metadata(self, *, refresh: bool = False, timeout: float | None = None) -> dict[str, Signature]:
        """Signatures by name. They are kept; `refresh` asks again, as after a model with other fields was published."""
        if refresh:
            self._operations.forget()
        return self._drive(self._operations.metadata(), timeout)

    def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """Versions of the model, highest first."""
        return self._drive(self._operations.status(), timeout)

    def wait_until_available(self, timeout: float = 60.0, poll: float = 0.2) -> list[VersionStatus]:
        """Wait until a version answers; TimeoutError with the last answer where none does in time."""
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
        """Close the channel."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drive(self, steps: Steps[T], timeout: float | None) -> T:
        deadline = Deadline(self.timeout if timeout is None else timeout)
        try:
            call = next(steps)
            while True:
                call = steps.send(self._send(call, deadline))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _send(self, call: Call, deadline: Deadline) -> Any:
        waits = self._backoff.waits()
        while True:
            try:
                return self._stubs[call.method](call.request, timeout=deadline.left())
            except grpc.RpcError as error:
                wait = next(waits, None) if may_retry(error) else None
                if wait is None or not deadline.allows(wait):
                    self._operations.note_failure(error)
                    raise ServingError.from_rpc(error, method=call.method.name, target=self.target) from error
                time.sleep(wait)

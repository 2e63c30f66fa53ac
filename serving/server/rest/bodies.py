"""Bodies of REST requests: read within limits, and unpacked within limits."""

from __future__ import annotations

import asyncio
import zlib
from http import HTTPStatus
from typing import Any

_GZIP, _DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS
# Of deflate, which packs at most 1,032 bytes into one.
_LARGEST_RATIO = 1032
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}


class RefusedError(Exception):
    """A request that reaches no handler."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Bodies:
    """Reads bodies on the event loop, and counts the bytes of those that are held.

    Args:
        max_body_bytes: Bytes of the largest body.
        max_held_bytes: Bytes of all bodies that are held at the same time.
        timeout: Seconds within which a body must arrive.
    """

    def __init__(self, *, max_body_bytes: int, max_held_bytes: int, timeout: float) -> None:
        self._max_body_bytes = max_body_bytes
        self._max_held_bytes = max_held_bytes
        self._timeout = timeout
        self._held = 0

    async def read(self, request: Any) -> bytes:
        """Returns a body as sent. Give it to `release` afterwards.

        Args:
            request: An aiohttp.web.Request.

        Raises:
            RefusedError: If it is too large, or too many are held, or it does not arrive in time.
        """
        if request.content_length is not None and request.content_length > self._max_body_bytes:
            raise too_large(self._max_body_bytes, request.content_length)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # Otherwise aiohttp takes it for the beginning of the reply.
            request.writer.output_size = 0
        body = bytearray()
        try:
            await asyncio.wait_for(self._collect(request.content, body), self._timeout)
        except BaseException as error:
            self.release(body)
            if isinstance(error, asyncio.TimeoutError):
                text = f"Body did not arrive within {self._timeout:g} s"
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, text) from error
            raise
        return bytes(body)

    async def _collect(self, content: Any, body: bytearray) -> None:
        while part := await content.readany():
            body += part
            self._held += len(part)
            if len(body) > self._max_body_bytes:
                raise too_large(self._max_body_bytes)
            if self._held > self._max_held_bytes:
                raise RefusedError(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"Bodies of all requests: expected at most {self._max_held_bytes} bytes "
                    f"(--rest_api_max_held_bytes). Received: {self._held}",
                )

    def release(self, body: bytes | bytearray) -> None:
        """Notes that a body is held no longer."""
        self._held -= len(body)


def too_large(limit: int, received: int | None = None) -> RefusedError:
    """Returns the refusal of a body. What is not yet read or unpacked is not known."""
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"Body: expected at most {limit} bytes (--rest_api_max_body_bytes). Received: {received or 'more'}",
    )


def largest_unpacked(body: bytes, encoding: str, limit: int) -> int:
    """Returns the most bytes that `unpacked` can return."""
    return len(body) if _is_plain(encoding) else min(limit, len(body) * _LARGEST_RATIO)


def _is_plain(encoding: str) -> bool:
    return encoding.strip().lower() in ("", "identity")


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """Returns a body without its Content-Encoding.

    Args:
        body: As sent.
        encoding: The header, "" without one.
        limit: Bytes of the largest body. Nothing beyond them is unpacked.

    Raises:
        RefusedError: If it is larger, broken, or of an encoding that the server does not know.
    """
    if _is_plain(encoding):
        return body
    encoding = encoding.strip().lower()
    if encoding not in _WINDOWS:
        known = ", ".join(sorted(_WINDOWS))
        raise RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding: expected one of {known}. Received: {encoding}"
        )
    # One byte more than allowed shows that there is more.
    inflater = zlib.decompressobj(_WINDOWS[encoding])
    try:
        whole = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"Body cannot be read: it is no {encoding}") from error
    if len(whole) > limit:
        raise too_large(limit)
    if not inflater.eof:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"Body cannot be read: its {encoding} ends too early")
    return whole

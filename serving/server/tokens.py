"""Bearer tokens, by which clients show that they may ask."""

from __future__ import annotations

import hmac
import logging
import os
import threading
from hashlib import sha256
from pathlib import Path

import grpc

from serving.protocol.errors import RequestError, invalid_argument

logger = logging.getLogger("serving.server")
_Stamp = tuple[int, int, int]


class Tokens:
    """The tokens of a file, one a line. A changed file is read again at the next request.

    Lines that are empty or start with `#` are no tokens. If a changed file cannot be read or names no token, the
    tokens before it still hold, and the log says so.

    Args:
        path: The file.

    Raises:
        RequestError: INVALID_ARGUMENT, if it cannot be read or names no token.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen = self._stamp()
        try:
            self._digests = _read(path)
        except OSError as error:
            raise invalid_argument(f"`auth_token_file` cannot be read: {path}; {error.strerror}") from error
        except ValueError as error:
            raise invalid_argument(f"`auth_token_file` cannot be read: {error}") from error

    def check(self, authorization: str | None) -> None:
        """Checks the header `Authorization` of a request.

        Raises:
            RequestError: UNAUTHENTICATED, if it holds no token, or none of the file.
        """
        self._refresh()
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthenticated("a bearer token is needed: send `Authorization: Bearer TOKEN`")
        given = _digest(token.strip())
        # All are compared, each in constant time. How long it takes tells nothing about a token.
        if not sum(hmac.compare_digest(given, known) for known in self._digests):
            raise _unauthenticated("the bearer token is unknown")

    def _refresh(self) -> None:
        with self._lock:
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            try:
                self._digests = _read(self._path)
            except (OSError, ValueError) as error:
                logger.error("%s was not taken over, the tokens before it hold: %s", self._path, error)

    def _stamp(self) -> _Stamp | None:
        """Returns what changes with the file, None where there is none."""
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


def _read(path: str) -> list[bytes]:
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise ValueError(f"{path}: expected one token a line. Received: no token")
    return [_digest(token) for token in tokens]


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _unauthenticated(message: str) -> RequestError:
    return RequestError(grpc.StatusCode.UNAUTHENTICATED, message)

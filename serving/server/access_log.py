"""JSON lines about requests and errors."""

from __future__ import annotations

import json
import logging
import logging.handlers
import random
import re
import sys
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
# Clients choose names and paths.
_MAX_TEXT = 200


@dataclass
class Access:
    """One request, as the access log tells it.

    Attributes:
        interface: gRPC or REST.
        call: Method and path, or the name of the remote procedure.
        request_id: The client's own where it sends a fit one, or a new one.
        model: Name of the model that was asked for.
        version: The version that answered. If none did, the version that was asked for.
        rows: How many rows or examples were sent.
        status: Name of the gRPC code, or number of the HTTP status.
    """

    interface: str
    call: str
    request_id: str
    model: str | None = None
    version: int | None = None
    rows: int | None = None
    status: str = "OK"
    start: float = field(default_factory=time.perf_counter)

    def note(self, request: Any, reply: Any = None) -> None:
        """Notes what a request and its reply, both protos, tell about model, version and rows."""
        tasks = getattr(request, "tasks", None)
        for message in (tasks[0] if tasks else request, reply):
            spec = getattr(message, "model_spec", None)
            if spec is not None:
                self.model = spec.name or self.model
                self.version = spec.version.value if spec.HasField("version") else self.version
        self.rows = _rows(request)


#: The request that this thread or task answers now.
current: ContextVar[Access | None] = ContextVar("current", default=None)


def note(request: Any, reply: Any = None) -> None:
    """Notes what protos tell about the request that this thread answers now, if it is observed."""
    access = current.get()
    if access is not None:
        access.note(request, reply)


def request_id(given: str | None) -> str:
    """Returns the id that a client sent, if it is short and plain, or a new one."""
    return given if given and _ID.fullmatch(given) else uuid.uuid4().hex


class AccessLog:
    """Writes a line for each request. Lines of failed and of slow requests are never left out.

    Args:
        path: The file, `-` for standard output, empty for no log. A file that was moved away is opened anew.
        sample: Share of the other requests that get a line, from 0 to 1.
        slow_ms: Milliseconds from which a request is slow; 0 = none is.
    """

    def __init__(self, path: str, sample: float = 1.0, slow_ms: float = 0.0) -> None:
        self._sample = sample
        self._slow_ms = slow_ms
        self._handler: logging.Handler | None = None
        if path == "-":
            self._handler = logging.StreamHandler(sys.stdout)
        elif path:
            self._handler = logging.handlers.WatchedFileHandler(path, encoding="utf-8")

    def write(self, access: Access) -> None:
        """Writes the line of a request that has ended."""
        if self._handler is None:
            return
        elapsed = (time.perf_counter() - access.start) * 1000
        slow = 0 < self._slow_ms <= elapsed
        fine = access.status == "OK" or access.status.startswith("2")
        if fine and not slow and random.random() >= self._sample:
            return
        line = {
            "time": _time(time.time()),
            "request_id": access.request_id,
            "interface": access.interface,
            "call": access.call[:_MAX_TEXT],
            "model": None if access.model is None else access.model[:_MAX_TEXT],
            "version": access.version,
            "rows": access.rows,
            "status": access.status,
            "milliseconds": round(elapsed, 3),
            "slow": slow,
        }
        self._handler.handle(logging.makeLogRecord({"msg": json.dumps(line)}))

    def close(self) -> None:
        """Closes the file."""
        if self._handler is not None:
            self._handler.close()


class JsonFormatter(logging.Formatter):
    """Messages of the server as JSON lines, each with the id of the request that it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a message."""
        access = current.get()
        line = {
            "time": _time(record.created),
            "level": record.levelname,
            "message": record.getMessage(),
            "request_id": None if access is None else access.request_id,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _rows(request: Any) -> int | None:
    """Returns the rows of a request: the first dimension of its inputs, or its examples."""
    inputs = getattr(request, "inputs", None)
    if inputs is not None:
        sizes = [proto.tensor_shape.dim[0].size for proto in inputs.values() if proto.tensor_shape.dim]
        return max(sizes, default=None)
    examples = getattr(request, "input", None)
    if examples is None:
        return None
    return len(examples.example_list.examples) or len(examples.example_list_with_context.examples)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")

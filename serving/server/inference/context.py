"""How one request is run: the server's settings, its deadline, where it is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from serving.server.metrics import Metrics
from serving.server.request_log.log import RequestLog
from serving.server.work import Work

T = TypeVar("T")


@dataclass(frozen=True)
class RunContext:
    """Everything a handler needs besides the request.

    Attributes:
        check_method_name: `--enable_signature_method_name_check`.
        as_content: `--enable_serialization_as_tensor_content`.
        work: Its time, and whether its client still waits.
        metrics: None for warm-up, which is not counted.
        check_songs: `--check_song_inputs`; not for warm-up, as an earlier export may have recorded anything.
        allow_unknown_songs: `--allow_unknown_songs`.
        max_matches: `--max_request_matches`, 0 = no limit.
        log: Gets requests and replies; None for warm-up, which is not logged.
    """

    check_method_name: bool = False
    as_content: bool = False
    work: Work = field(default_factory=Work)
    metrics: Metrics | None = None
    check_songs: bool = False
    allow_unknown_songs: bool = False
    max_matches: int = 0
    log: RequestLog | None = None

    def logged(self, request: object, reply: T) -> T:
        """Returns the reply of a request, and hands both to the request log."""
        if self.log is not None:
            self.log.record(request, reply)
        return reply

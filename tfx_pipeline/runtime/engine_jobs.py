"""Jobs on an engine that is lost or hangs: an error in one sentence, where Beam waits forever or says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tfx_pipeline.runtime.beam_options import job_server

_GO_ON = "What earlier steps made is in TFX's cache: start the engine, then the same command again."


class EngineLostError(RuntimeError):
    """An engine was lost, or did not finish a job in time. The message says what to do."""


@contextmanager
def watched_jobs(options: Sequence[str], seconds: float | None = None) -> Iterator[None]:
    """Raises `EngineLostError` where the job server goes away, or a job takes longer than it may.

    Beam has no setting for either. A worker that dies can leave a job that never ends, and a job server that dies is
    an error of gRPC without its address. So the two calls of Beam's portable runner that wait are patched.

    Args:
        options: Beam's options. Without a job server in them, nothing is patched.
        seconds: The longest that one job may take; None for no limit.
    """
    server = job_server(options)
    if server is None:
        yield
        return
    from apache_beam.runners.portability import portable_runner

    runner: Any = portable_runner.PortableRunner
    result: Any = portable_runner.PipelineResult
    start, wait = runner.run_portable_pipeline, result.wait_until_finish
    runner.run_portable_pipeline = _starting(start, server)
    result.wait_until_finish = _waiting(wait, server, seconds)
    try:
        yield
    finally:
        runner.run_portable_pipeline, result.wait_until_finish = start, wait


def _starting(of_beam: Any, server: str) -> Any:
    def run_portable_pipeline(self: Any, *arguments: Any) -> Any:
        with _lost_server(server):
            return of_beam(self, *arguments)

    return run_portable_pipeline


def _waiting(of_beam: Any, server: str, seconds: float | None) -> Any:
    def wait_until_finish(self: Any, duration: int | None = None) -> Any:
        limit = duration or (None if seconds is None else int(1000 * seconds))
        with _lost_server(server):
            state = of_beam(self, duration=limit)
        # The other ends of a job are errors already. Whoever gives a duration looks at the state.
        if duration is None and seconds is not None and state not in ("DONE", "DRAINED"):
            with suppress(Exception):  # the job server may have gone meanwhile
                self.cancel()
            raise EngineLostError(
                f"job server {server}: expected a job to end within {seconds:g} s. Received: state {state}. "
                f"The job was cancelled: a worker may have died. {_GO_ON}"
            )
        return state

    return wait_until_finish


@contextmanager
def _lost_server(server: str) -> Iterator[None]:
    import grpc

    try:
        yield
    except grpc.FutureTimeoutError as error:
        raise EngineLostError(f"job server {server}: expected a connection. Received: none. {_GO_ON}") from error
    except grpc.RpcError as error:
        code = error.code() if isinstance(error, grpc.Call) else None
        if code is not grpc.StatusCode.UNAVAILABLE:
            raise
        raise EngineLostError(f"job server {server}: lost during a job. {_GO_ON}") from error

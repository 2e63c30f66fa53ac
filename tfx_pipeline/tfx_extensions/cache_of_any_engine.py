"""TFX's cache without Beam's options in its keys: what one engine has made is there for the next."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfx.orchestration.portable import cache_utils
from tfx.proto.orchestration import executable_spec_pb2


@contextmanager
def cache_of_any_engine() -> Iterator[None]:
    """Lets a run take from the cache what a run on another Beam engine, or at another address, has finished.

    TFX's key of a step has Beam's options in it, the job server's address among them. Every engine gives the same
    result, so a run whose engine was lost must not start anew on the next one. TFX has no setting for this, so the
    function that makes the key is patched.
    """
    of_tfx = cache_utils.get_cache_context
    cache_utils.get_cache_context = functools.partial(_without_options, of_tfx)
    try:
        yield
    finally:
        cache_utils.get_cache_context = of_tfx


def _without_options(of_tfx: Any, *arguments: Any, executor_spec: Any = None, **others: Any) -> Any:
    if isinstance(executor_spec, executable_spec_pb2.BeamExecutableSpec):
        step = executable_spec_pb2.BeamExecutableSpec()
        step.python_executor_spec.CopyFrom(executor_spec.python_executor_spec)
        executor_spec = step
    return of_tfx(*arguments, executor_spec=executor_spec, **others)

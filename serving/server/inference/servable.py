"""A loaded version: its signatures and a way to run them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from serving.protocol.errors import RequestError
from serving.savedmodel.session import Array, SavedModelSession
from serving.server.inference.context import RunContext
from serving.server.inference.song_fields import SongFields
from serving.server.public_text import public_error
from serving.server.work import Work


class Servable:
    """A session, with or without batching in front of it.

    Args:
        name: Of the model, for the metrics.
        session: The loaded SavedModel.
        batching: A BatchingSession around it, or None.
    """

    def __init__(self, name: str, session: SavedModelSession, batching: Any = None) -> None:
        self.name = name
        self._session = session
        self._batching = batching
        # A plain dict: a lookup in a protobuf map adds the entry that it lacks.
        self.signatures: Mapping[str, Any] = dict(session.signatures)
        self.song_fields = SongFields(self.signatures)

    def run(
        self, feeds: Sequence[tuple[str, Array]], fetches: Sequence[str], context: RunContext, *, api: str | None
    ) -> list[Array]:
        """Returns the fetched tensors; see SavedModelSession.run. `api` names the call in the metrics, if any.

        Raises:
            RequestError: With TensorFlow's own code and text, which names no folder: clients read it.
        """
        start = time.perf_counter()
        context.work.check()
        try:
            values = self._values(feeds, fetches, context.work)
        except RequestError as error:
            raise public_error(error) from error
        if context.metrics is not None and api is not None:
            elapsed = (time.perf_counter() - start) * 1e6
            context.metrics.runtime.labels(self.name, api, "TF1").observe(elapsed)
        return values

    def _values(self, feeds: Sequence[tuple[str, Array]], fetches: Sequence[str], work: Work) -> list[Array]:
        if self._batching is None:
            # TensorFlow cannot end a step whose client leaves. It ends one whose time is over.
            return self._session.run(feeds, fetches, work.left_ms())
        values: list[Array] = self._batching.run(feeds, fetches, work.left_ms(), work)
        return values

    def close(self) -> None:
        """Frees everything."""
        if self._batching is not None:
            self._batching.close()
        self._session.close()


class Lent(Protocol):
    """A version that is lent to a request.

    Attributes:
        name: Of the model.
        version: Its number.
        servable: What answers.
    """

    name: str
    version: int
    servable: Any


class Models(Protocol):
    """What lends versions: `serving.server.models.core.ServerCore`."""

    def lease(self, model_spec: Any) -> AbstractContextManager[Lent]:
        """Lends the version that a ModelSpec names; raises RequestError if there is none."""

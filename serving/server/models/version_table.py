"""The versions that the server knows of, in whatever state, and the lending of those that answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc

from serving.protocol.errors import RequestError, not_found, unavailable
from serving.server.models.lifecycle import AVAILABLE, END, LOADING, START, UNLOADING, ModelVersion


class VersionTable:
    """Versions by model and number, behind one lock.

    Args:
        on_idle: Called when the last user of a version that is to be unloaded has gone.

    Attributes:
        changed: The lock; notified at every change of a state.
        stopping: Whether the server stops. Then all waiting ends.
    """

    def __init__(self, on_idle: Callable[[], None]) -> None:
        self.changed = threading.Condition()
        self.stopping = False
        self._on_idle = on_idle
        self._versions: dict[str, dict[int, ModelVersion]] = {}

    def names(self) -> list[str]:
        """Returns the models with any version, also those that are no longer configured."""
        with self.changed:
            return list(self._versions)

    def all(self) -> list[ModelVersion]:
        """Returns every version of every model."""
        with self.changed:
            return [version for versions in self._versions.values() for version in versions.values()]

    def states(self, name: str) -> dict[int, ModelVersion]:
        """Returns the versions of a model that the server knows of, also those that were unloaded."""
        with self.changed:
            return dict(self._versions.get(name, {}))

    def is_available(self, name: str, version: int) -> bool:
        """Returns whether this version answers requests."""
        with self.changed:
            known = self._versions.get(name, {}).get(version)
            return known is not None and known.state == AVAILABLE

    def serves(self, name: str) -> bool:
        """Returns whether any version of a model answers requests."""
        with self.changed:
            return any(version.state == AVAILABLE for version in self._versions.get(name, {}).values())

    @contextmanager
    def lease(self, name: str, version: int | None) -> Iterator[ModelVersion]:
        """Lends a version, the latest for None; it stays loaded until it is given back.

        Raises:
            RequestError: NOT_FOUND, if no such version answers.
        """
        with self.changed:
            versions = self._versions.get(name, {})
            ready = [number for number, known in versions.items() if known.state == AVAILABLE]
            if version is None and ready:
                version = max(ready)
            if version is None:
                raise not_found(f"Servable not found for request: Latest({name})")
            if version not in ready:
                raise not_found(f"Servable not found for request: Specific({name}, {version})")
            lent = versions[version]
            lent.users += 1
        try:
            yield lent
        finally:
            with self.changed:
                lent.users -= 1
                if not lent.users and (lent.state == UNLOADING or self.stopping):
                    self.changed.notify_all()
                    self._on_idle()

    def release(self) -> None:
        """Ends all waiting for good: the server stops."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    def wake(self) -> None:
        """Wakes all waiting threads, which then check whether their client is still there."""
        with self.changed:
            self.changed.notify_all()

    def wait(
        self, condition: Callable[[], bool], wanted: Callable[[], bool], what: str, timeout: float | None = None
    ) -> None:
        """Waits for a condition, with the lock held.

        Args:
            condition: Looked at after every change.
            wanted: Whether the client still waits for the answer. If not, the wait ends, too.
            what: What did not happen, for the text of the error.
            timeout: Seconds; default no limit.

        Raises:
            RequestError: UNAVAILABLE if the server stops; CANCELLED if the client has left.
            TimeoutError: If it did not become true in time.
        """
        if not self.changed.wait_for(lambda: self.stopping or condition() or not wanted(), timeout):
            raise TimeoutError(f"{what} after {timeout} s")
        if self.stopping:
            raise unavailable("the server is shutting down")
        if not wanted():
            raise RequestError(grpc.StatusCode.CANCELLED, f"{what} before the client had gone")

    def wait_until_available(
        self, names: Sequence[str], timeout: float | None = None, wanted: Callable[[], bool] = lambda: True
    ) -> list[ModelVersion]:
        """Waits until every model has a version that answers, or has failed for good.

        Returns:
            Versions that failed, of models without any that answers; empty where all is well.

        Raises:
            RequestError, TimeoutError: If neither happened; see `wait`.
        """
        with self.changed:
            self.wait(
                lambda: all(self._settled(name) is not None for name in names),
                wanted,
                f"models {list(names)} were not available",
                timeout,
            )
            return [version for name in names for version in (self._settled(name) or [])]

    def _settled(self, name: str) -> list[ModelVersion] | None:
        """Returns None while undecided, [] where a version answers, else the versions that failed."""
        versions = list(self._versions.get(name, {}).values())
        if any(version.state == AVAILABLE for version in versions):
            return []
        aspired = [version for version in versions if version.aspired]
        failed = [version for version in aspired if version.state == END and version.error is not None]
        return failed if failed and len(failed) == len(aspired) else None

    def aspire(self, name: str, wanted: dict[int, str]) -> None:
        """Notes which versions of a model, by number and path, are wanted."""
        with self.changed:
            versions = self._versions.setdefault(name, {})
            for number, path in wanted.items():
                known = versions.get(number)
                # A version that failed is tried again only if it was gone meanwhile, or is in another folder now.
                retired = known is not None and (known.error is None or not known.aspired or known.path != path)
                if known is None or (known.state == END and retired):
                    versions[number] = ModelVersion(name, number, path)
            for number, known in versions.items():
                known.aspired = number in wanted
                if not known.aspired and known.state in (START, LOADING):
                    known.state = END
            self.changed.notify_all()

    def may_unload(self, name: str) -> bool:
        """Returns False while the only version that answers would go and another is on its way."""
        versions = list(self.states(name).values())
        aspired = [version for version in versions if version.aspired]
        serving = [version for version in versions if version.state == AVAILABLE]
        return not aspired or any(version.state == AVAILABLE for version in aspired) or len(serving) > 1

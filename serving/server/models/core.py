"""The models that are served now, and how a request's ModelSpec leads to one of their versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from serving.protocol.errors import RequestError, failed_precondition, invalid_argument, permission_denied
from serving.server.models.config import ModelConfig, Roots, check_transition, read_models
from serving.server.models.lifecycle import ModelVersion
from serving.server.models.manager import ModelManager
from serving.server.request_log.log import RequestLog


class ServerCore:
    """Configuration and labels on top of the manager of versions.

    Args:
        manager: Loads and lends versions.
        roots: Where base paths may lie.
        labels_for_unavailable: `--allow_version_labels_for_unavailable_models`: a new label may name a version that is
            not loaded yet.
        zero_is_latest: `--version_zero_is_latest`: a request for version 0 means the latest version.
        log: Told which models are logged, and where.

    Attributes:
        versions: What the server knows of, and lends.
    """

    def __init__(
        self,
        manager: ModelManager,
        *,
        roots: Roots,
        labels_for_unavailable: bool = False,
        zero_is_latest: bool = False,
        log: RequestLog | None = None,
    ) -> None:
        self._manager = manager
        self.versions = manager.table
        self._roots = roots
        self._labels_for_unavailable = labels_for_unavailable
        self._zero_is_latest = zero_is_latest
        self._log = log
        self._config = model_server_config_pb2.ModelServerConfig()
        self._reloading = False  # behind the lock of `versions`
        self._labels: dict[str, dict[str, int]] = {}

    def reload(
        self,
        config: Any,
        timeout: float | None = None,
        *,
        trusted: bool = False,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Replaces the configuration and waits until models that are new to it answer.

        As in TensorFlow Serving the new configuration is recorded before its labels are checked, so that a reload
        refused for a label still counts as the current configuration for the next one.

        Args:
            config: ModelServerConfig.
            timeout: Seconds to wait for new models; default no limit.
            trusted: Whether it comes from the operator, not from a client. Then its base paths may be anywhere.
            wanted: Whether the caller is still there; once it is not, the wait ends. `versions.wake` makes it look.

        Raises:
            RequestError: If the configuration is refused, a new model does not become available, or the wait was ended.
            TimeoutError: If new models take longer than `timeout`.
        """
        with self._alone(wanted):
            check_transition(self._config, config)
            models = read_models(config)
            for model in models:
                if trusted:
                    self._roots.allow(model.base_path)
                self._roots.check(model.base_path, f"base path of model {model.name}")
            self._update_log(models, trusted=trusted)
            known = {entry.name for entry in self._config.model_config_list.config}
            self._config = config
            self._labels = self._new_labels(models)
            self._manager.set_models(models)
            new = [model.name for model in models if model.name not in known]
            failed = self.versions.wait_until_available(new, timeout, wanted)
            if failed:
                raise _not_available(failed, "model(s)" if known else "servable(s)")

    def is_ready(self) -> bool:
        """Returns whether every configured model has a version that answers."""
        return all(self.versions.serves(entry.name) for entry in self._config.model_config_list.config)

    def _update_log(self, models: list[ModelConfig], *, trusted: bool) -> None:
        if self._log is None:
            return
        for model in models:
            if not trusted and model.log is not None and model.log != self._log.settings(model.name):
                raise permission_denied(
                    f"`logging_config` of model {model.name}: expected it in --model_config_file alone, as it names "
                    "files to write. Received: another one in a HandleReloadConfigRequest"
                )
        self._log.update({model.name: model.log for model in models})

    @contextmanager
    def _alone(self, wanted: Callable[[], bool]) -> Iterator[None]:
        """Lets one reload run at a time. Not a lock of `threading`: a thread that waits for one cannot give up."""
        with self.versions.changed:
            self.versions.wait(lambda: not self._reloading, wanted, "another reload had not ended")
            self._reloading = True
        try:
            yield
        finally:
            with self.versions.changed:
                self._reloading = False
                self.versions.changed.notify_all()

    def _new_labels(self, models: list[ModelConfig]) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for model in models:
            for label, version in model.labels.items():
                moved = self._labels.get(model.name, {}).get(label, version) != version
                allowed = self._labels_for_unavailable and not moved
                if not allowed and not self.versions.is_available(model.name, version):
                    raise failed_precondition(
                        f"Request to assign label to version {version} of model {model.name}, which is not currently "
                        "available for inference"
                    )
                labels.setdefault(model.name, {})[label] = version
        return labels

    def version_number(self, model_spec: Any) -> int | None:
        """Returns the version number of a ModelSpec that has one; None where 0 stands for the latest version."""
        version = int(model_spec.version.value)
        is_latest = version == 0 and self._zero_is_latest and 0 not in self.versions.states(model_spec.name)
        return None if is_latest else version

    @contextmanager
    def lease(self, model_spec: Any) -> Iterator[ModelVersion]:
        """Lends the version that a ModelSpec names.

        Raises:
            RequestError: If there is no name, an unknown label, or no such version.
        """
        if not model_spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = model_spec.WhichOneof("version_choice")
        version: int | None = None
        if choice == "version":
            version = self.version_number(model_spec)
        elif choice == "version_label":
            version = self._labels.get(model_spec.name, {}).get(model_spec.version_label)
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {model_spec.version_label}")
        with self.versions.lease(model_spec.name, version) as lent:
            yield lent


def _not_available(failed: Sequence[ModelVersion], what: str) -> RequestError:
    parts = [f"{{{{name: {v.name} version: {v.version}}} due to error: {v.error or 'unknown'}}}, " for v in failed]
    return RequestError.from_number(2, f"{len(failed)} {what} did not become available: {{{''.join(parts)}}}")

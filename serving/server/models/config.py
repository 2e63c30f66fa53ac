"""The models of a configuration, checked as TensorFlow Serving checks them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from serving.protocol.errors import failed_precondition, invalid_argument, permission_denied
from serving.savedmodel.versions import Policy
from serving.server.config_files import fill_text_proto
from serving.server.flags import ServerFlags
from serving.server.request_log.settings import LogSettings

logger = logging.getLogger("serving.server")
PLATFORM = "tensorflow"


@dataclass(frozen=True)
class ModelConfig:
    """One model: where its versions are, which of them to serve, names for some of them, and the log of requests."""

    name: str
    base_path: str
    policy: Policy = field(default_factory=Policy)
    labels: Mapping[str, int] = field(default_factory=dict)
    log: LogSettings | None = None


def single_model(flags: ServerFlags) -> Any:
    """Returns the ModelServerConfig of `--model_name`, `--model_base_path` and the flags of the request log."""
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(
        name=flags.model_name, base_path=flags.model_base_path, model_platform=PLATFORM
    )
    if flags.request_log_prefix:
        model.logging_config.log_collector_config.filename_prefix = flags.request_log_prefix
        model.logging_config.sampling_config.sampling_rate = flags.request_log_sample
    return config


def read_model_config_file(path: str) -> Any:
    """Returns the ModelServerConfig of `--model_config_file`.

    Raises:
        RequestError: If the file cannot be read or is no text proto of a ModelServerConfig.
    """
    return fill_text_proto(path, model_server_config_pb2.ModelServerConfig())


def _platform(config: Any) -> str:
    if config.model_type != model_server_config_pb2.MODEL_TYPE_UNSPECIFIED:
        if config.model_platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
            )
        if config.model_type == model_server_config_pb2.TENSORFLOW:
            return PLATFORM
        raise invalid_argument(f"ModelServerConfig::model_type choice {config.model_type} not supported.")
    if not config.model_platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {config.name}"
        )
    return str(config.model_platform)


def check_transition(old: Any, new: Any) -> None:
    """Refuses what TensorFlow Serving refuses before it takes over a new ModelServerConfig.

    Raises:
        RequestError: With its code and text.
    """
    old_choice, new_choice = old.WhichOneof("config"), new.WhichOneof("config")
    if old_choice is not None and not old_choice == new_choice == "model_config_list":
        raise failed_precondition(
            "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another."
        )
    names: set[str] = set()
    for config in new.model_config_list.config:
        if config.name in names:
            raise invalid_argument(f"Illegal to list model {config.name} multiple times in config list")
        names.add(config.name)
    for config in new.model_config_list.config:
        if not os.path.isabs(config.base_path):
            raise invalid_argument(
                f"Expected model {config.name} to have an absolute path or URI; got base_path()={config.base_path}"
            )
        if "\0" in config.base_path:
            raise invalid_argument(
                f"Expected model {config.name} to have a base path without null bytes; "
                f"got base_path()={config.base_path!r}"
            )
    platforms = {config.name: _platform(config) for config in old.model_config_list.config}
    for config in new.model_config_list.config:
        if config.name in platforms and _platform(config) != platforms[config.name]:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {config.name} platform was "
                f"{platforms[config.name]} and new platform requested is {_platform(config)}"
            )


def read_models(config: Any) -> list[ModelConfig]:
    """Returns the models of a checked ModelServerConfig.

    Raises:
        RequestError: If a platform is missing, or another than TensorFlow, or a `logging_config` cannot be used.
    """
    models = []
    for entry in config.model_config_list.config:
        platform = _platform(entry)
        if platform != PLATFORM:
            raise invalid_argument(f"Model {entry.name} requests unsupported platform {platform}")
        policy = Policy.from_proto(entry.model_version_policy)
        log = LogSettings.from_proto(entry.logging_config, entry.name)
        models.append(ModelConfig(entry.name, entry.base_path, policy, dict(entry.version_labels), log))
    return models


class Roots:
    """Folders that models may be loaded from: what a client sends must not make the server read other places.

    Args:
        paths: The folders; default none. Then only what `allow` adds may be read.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths = [os.path.realpath(path) for path in paths]

    def allow(self, base_path: str) -> None:
        """Trusts a base path and what is in it. Not its neighbours: beside `/models` that would be everything."""
        real = os.path.realpath(base_path)
        if real not in self._paths:
            self._paths.append(real)

    def check(self, path: str, what: str) -> None:
        """Raises PERMISSION_DENIED where `path`, its links followed, is outside."""
        real = os.path.realpath(path)
        if not any(os.path.commonpath([root, real]) == root for root in self._paths):
            logger.error("%s must lie in one of %s. Received: %s", what, self._paths, path)
            raise permission_denied(
                f"{what} must lie in a base path of the configuration or a folder of --model_roots. Received: {path}"
            )

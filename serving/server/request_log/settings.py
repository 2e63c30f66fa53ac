"""Which requests of a model are logged, and where: TensorFlow Serving's LoggingConfig."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from serving.protocol.errors import RequestError, invalid_argument, not_found

#: The one type of `log_collector_config` that there is. An empty type means it, too.
TYPE = "tfrecord"


@dataclass(frozen=True)
class LogSettings:
    """The log of one model.

    Attributes:
        prefix: Absolute path that the names of the log's files begin with.
        rate: Share of the requests that are logged, from 0 to 1.
    """

    prefix: str
    rate: float

    @classmethod
    def from_proto(cls, config: Any, model: str) -> LogSettings | None:
        """Reads a LoggingConfig; None where it names no file.

        Raises:
            RequestError: If the type is unknown, the prefix cannot be one, or the rate is no share.
        """
        collector, rate = config.log_collector_config, config.sampling_config.sampling_rate
        if collector.type not in ("", TYPE):
            raise not_found(f"Cannot find LogCollector::Factory for type: {collector.type}")
        if not collector.filename_prefix:
            if collector.type or rate:
                raise _refused("log_collector_config.filename_prefix", model, "an absolute path", "none")
            return None
        check_prefix(collector.filename_prefix, f"`logging_config` of model {model}: `filename_prefix`")
        if not 0 <= rate <= 1:
            raise _refused("sampling_config.sampling_rate", model, "a number from 0 to 1", str(rate))
        return cls(collector.filename_prefix, rate)


def check_prefix(prefix: str, what: str) -> None:
    """Refuses a prefix that is no absolute path of files.

    Raises:
        RequestError: INVALID_ARGUMENT. It begins with `what`.
    """
    if not os.path.isabs(prefix) or not os.path.basename(prefix) or "\0" in prefix:
        raise invalid_argument(f"{what}: expected an absolute path and the start of a name. Received: {prefix!r}")


def _refused(field: str, model: str, expected: str, received: str) -> RequestError:
    return invalid_argument(f"`logging_config` of model {model}: `{field}`: expected {expected}. Received: {received}")

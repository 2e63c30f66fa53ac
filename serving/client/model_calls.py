"""Calls to one model: the requests, and the reading of the replies."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np

from serving.client.batches import join_outputs, split_rows
from serving.client.calls import METADATA, PREDICT, Call, Deadline, Method, ServingError, Steps
from serving.client.channel import DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_MAX_ROWS
from serving.client.signatures import Signature, read_signatures
from serving.protocol import protos
from serving.protocol.tensors import from_proto, to_proto

Arrays = dict[str, np.ndarray[Any, Any]]


class ModelCalls:
    """One model on one server.

    Args:
        model_name: As the server knows it.
        target: The server's address, for messages.
        version: Which version answers; None = the latest.
        version_label: Which version answers, by its label; None = the latest.
        timeout: Seconds for an operation; None = no limit.
        max_message_bytes: Larger batches are sent in several messages.
        max_rows: So are batches with more rows; None = any number of rows.
    """

    def __init__(
        self,
        model_name: str,
        *,
        target: str = "",
        version: int | None = None,
        version_label: str | None = None,
        timeout: float | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        max_rows: int | None = DEFAULT_MAX_ROWS,
    ) -> None:
        if not model_name:
            raise ValueError(f"`model_name` must not be empty. Received: {model_name!r}")
        if version is not None and version_label is not None:
            raise ValueError(
                f"`version` and `version_label` exclude each other. Received: {version!r} and {version_label!r}"
            )
        if max_message_bytes < 1:
            raise ValueError(f"`max_message_bytes` must be 1 or more. Received: {max_message_bytes}")
        if max_rows is not None and max_rows < 1:
            raise ValueError(f"`max_rows` must be 1 or more, or None. Received: {max_rows}")
        self.model_name = model_name
        self._target = target
        self._version = version
        self._label = version_label
        self._timeout = timeout
        self._limit = max_message_bytes
        self._max_rows = max_rows
        self._signatures: dict[str, Signature] | None = None

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    def _ask(self, method: Method, request: Any, deadline: Deadline, signature: str = "") -> Steps[Any]:
        """Sends a request about the model.

        Raises:
            ServingError: If the call failed.
        """
        request.model_spec.name = self.model_name
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        if self._label is not None:
            request.model_spec.version_label = self._label
        try:
            return (yield Call(method, request, deadline))
        except grpc.RpcError as error:
            # Perhaps another version is served by now, with other inputs or signatures.
            if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
                self._signatures = None
            raise ServingError(error.code(), error.details() or "", method=method.name, target=self._target) from error

    def _known_signatures(self, deadline: Deadline) -> Steps[dict[str, Signature]]:
        """Returns the signatures by name. They are asked for once."""
        if self._signatures is None:
            request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
            self._signatures = read_signatures((yield from self._ask(METADATA, request, deadline)))
        return self._signatures

    def _signature(self, name: str, deadline: Deadline) -> Steps[Signature]:
        signatures = yield from self._known_signatures(deadline)
        if name not in signatures:
            raise ValueError(f"`signature` must be one of {sorted(signatures)}. Received: {name!r}")
        return signatures[name]

    def _run(
        self, arrays: Arrays, signature: Signature, deadline: Deadline, columns: int | None = None
    ) -> Steps[Arrays]:
        """Sends the arrays in as many messages as the limits ask for, and keeps `columns` of each reply's matches."""
        reply_row_bytes = sum(
            spec.row_bytes() * (columns if columns and spec.shape and spec.per_match else 1)
            for spec in signature.outputs.values()
        )
        parts, rows = [], []
        for part in split_rows(arrays, signature, self._limit, reply_row_bytes, self._max_rows):
            request = protos.PredictRequest()
            for name, array in arrays.items():
                value = array[part] if signature.inputs[name].per_row and array.ndim else array
                to_proto(value, request.inputs[name])
            reply = yield from self._ask(PREDICT, request, deadline, signature.name)
            parts.append(_outputs(reply, signature, columns))
            rows.append(None if part.stop is None else part.stop - part.start)
        return join_outputs(parts, rows)


def _outputs(reply: Any, signature: Signature, columns: int | None) -> Arrays:
    cut = {name for name, spec in signature.outputs.items() if spec.per_match}
    arrays = {name: from_proto(proto) for name, proto in reply.outputs.items()}
    return {name: array[:, :columns] if array.ndim > 1 and name in cut else array for name, array in arrays.items()}

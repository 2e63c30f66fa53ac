"""What a client does, without saying how a message travels.

Every operation is a generator: it yields a `Call`, is sent the reply, and returns its result. `Client` and
`AsyncClient` only differ in how they carry a call out, so the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import numpy as np

from serving.client.batches import join_outputs, split_rows
from serving.client.channel import DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_MAX_ROWS
from serving.client.inputs import as_input, decoded, exclude_input, k_input
from serving.client.known_fields import KNOWN_FIELDS
from serving.client.signatures import Signature, read_signatures
from serving.client.songs import Song, as_songs, check_fields, song_arrays
from serving.protocol import protos
from serving.protocol.tensors import from_proto, to_proto

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
T = TypeVar("T")


@dataclass(frozen=True)
class Method:
    """A remote procedure: its path and the class of its reply."""

    path: str
    reply: Any

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[1]


PREDICT = Method("/tensorflow.serving.PredictionService/Predict", protos.PredictResponse)
METADATA = Method("/tensorflow.serving.PredictionService/GetModelMetadata", protos.GetModelMetadataResponse)
STATUS = Method("/tensorflow.serving.ModelService/GetModelStatus", protos.GetModelStatusResponse)
METHODS = (PREDICT, METADATA, STATUS)


@dataclass(frozen=True)
class Call:
    """One message to send."""

    method: Method
    request: Any


Steps = Generator[Call, Any, T]


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model as the server sees it.

    Attributes:
        version: its number.
        state: START, LOADING, AVAILABLE, UNLOADING or END. Versions that were unloaded stay listed as END.
        error_code: number of a gRPC code, 0 = fine.
        error_message: why it could not be loaded, or "".
    """

    version: int
    state: str
    error_code: int
    error_message: str


@dataclass(frozen=True)
class Explained:
    """Matches of n songs, best first, and why.

    Attributes:
        ids: (n, k).
        scores: (n, k).
        shares: (n, k, parts), what each part of a song gives to a score; they add up to it.
        parts: names of the parts: blocks of fields, and what they leave; none where no song was asked about.
    """

    ids: Array
    scores: Array
    shares: Array
    parts: tuple[str, ...]


class Operations:
    """Requests to one model and the reading of the replies.

    Args:
        model_name: as the server knows it.
        version, version_label: which version answers; None for both = the latest.
        max_message_bytes, max_rows: larger batches are sent in several messages; `max_rows` None = any number of rows.
    """

    def __init__(
        self,
        model_name: str,
        *,
        version: int | None = None,
        version_label: str | None = None,
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
        self.model_name = model_name
        self._version = version
        self._label = version_label
        if max_rows is not None and max_rows < 1:
            raise ValueError(f"`max_rows` must be 1 or more, or None. Received: {max_rows}")
        self._limit = max_message_bytes
        self._max_rows = max_rows
        self._signatures: dict[str, Signature] | None = None

    def forget(self) -> None:
        """Ask for the metadata again before the next call; a new version may take other fields."""
        self._signatures = None

    def note_failure(self, error: grpc.RpcError) -> None:
        """Forget the metadata where a refusal says that the model's inputs or signatures are others by now."""
        if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
            self.forget()

    def metadata(self) -> Steps[dict[str, Signature]]:
        """Signatures by name; asked for once."""
        if self._signatures is None:
            request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
            self._set_model(request)
            self._signatures = read_signatures((yield Call(METADATA, request)))
        return self._signatures

    def status(self) -> Steps[list[VersionStatus]]:
        """Versions known to the server, highest first."""
        request = protos.GetModelStatusRequest()
        self._set_model(request)
        reply = yield Call(STATUS, request)
        versions = [
            VersionStatus(
                v.version, protos.STATES.get(v.state, str(v.state)), v.status.error_code, v.status.error_message
            )
            for v in reply.model_version_status
        ]
        return sorted(versions, key=lambda status: -status.version)

    def predict(self, inputs: Mapping[str, Any], signature: str) -> Steps[Arrays]:
        """Outputs by name; strings as object arrays of bytes."""
        definition = yield from self._signature(signature)
        arrays = {name: as_input(name, value, definition.inputs.get(name)) for name, value in inputs.items()}
        return (yield from self._run(arrays, definition))

    def embed(self, songs: Any, ignore: Collection[str]) -> Steps[tuple[Array, Array | None]]:
        """Embeddings (n, d) float32 and known fields (n,), None where the model does not say; a row per song."""
        definition = yield from self._signature("embed")
        rows = _checked(songs, definition, ignore)
        outputs = yield from self._run(song_arrays(rows, definition), definition)
        return outputs["embedding"], outputs.get(KNOWN_FIELDS)

    def match(
        self, songs: Any, k: int, exclude: Sequence[Any] | None, ignore: Collection[str]
    ) -> Steps[tuple[Array, Array, Array | None]]:
        """Ids and scores, each (n, k) at most, best first, and known fields as in `embed`; string ids are str."""
        outputs = yield from self._matches("match", songs, k, exclude, ignore)
        return _ids(outputs), outputs["scores"], outputs.get(KNOWN_FIELDS)

    def explain(
        self, songs: Any, k: int, exclude: Sequence[Any] | None, ignore: Collection[str]
    ) -> Steps[tuple[Explained, Array | None]]:
        """Matches with what each part of a song gives to their scores, and known fields as in `embed`."""
        outputs = yield from self._matches("explain", songs, k, exclude, ignore)
        names = tuple(name.decode() for name in outputs["share_names"][0]) if len(outputs["share_names"]) else ()
        return Explained(_ids(outputs), outputs["scores"], outputs["shares"], names), outputs.get(KNOWN_FIELDS)

    def _matches(
        self, signature: str, songs: Any, k: int, exclude: Sequence[Any] | None, ignore: Collection[str]
    ) -> Steps[Arrays]:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"`k` must be an integer of 1 or more. Received: {k!r}")
        definition = yield from self._signature(signature)
        rows = _checked(songs, definition, ignore)
        arrays = song_arrays(rows, definition)
        if "k" in definition.inputs:
            arrays["k"] = k_input(k, len(rows), definition.inputs["k"])
        if "exclude" in definition.inputs:
            arrays["exclude"] = exclude_input(rows, exclude, definition.inputs["exclude"])
        # A batching server answers all requests of a batch with the largest `k` among them.
        return (yield from self._run(arrays, definition, columns=k))

    def _signature(self, name: str) -> Steps[Signature]:
        signatures = yield from self.metadata()
        if name not in signatures:
            raise ValueError(f"`signature` must be one of {sorted(signatures)}. Received: {name!r}")
        return signatures[name]

    def _set_model(self, request: Any, signature: str = "") -> None:
        request.model_spec.name = self.model_name
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        if self._label is not None:
            request.model_spec.version_label = self._label

    def _run(self, arrays: Arrays, signature: Signature, columns: int | None = None) -> Steps[Arrays]:
        """Send the arrays in as many messages as the limit asks for; keep `columns` of each reply's matches."""
        reply_row_bytes = sum(
            spec.row_bytes() * (columns if columns and spec.shape and spec.per_match else 1)
            for spec in signature.outputs.values()
        )
        cut = {name for name, spec in signature.outputs.items() if spec.per_match}
        parts, rows = [], []
        for part in split_rows(arrays, signature, self._limit, reply_row_bytes, self._max_rows):
            request = protos.PredictRequest()
            self._set_model(request, signature.name)
            for name, array in arrays.items():
                value = array[part] if signature.inputs[name].per_row and array.ndim else array
                to_proto(value, request.inputs[name])
            reply = yield Call(PREDICT, request)
            outputs = {name: from_proto(proto) for name, proto in reply.outputs.items()}
            parts.append(
                {n: value[:, :columns] if value.ndim > 1 and n in cut else value for n, value in outputs.items()}
            )
            rows.append(None if part.stop is None else part.stop - part.start)
        return join_outputs(parts, rows)


def _ids(outputs: Arrays) -> Array:
    ids = outputs["song_ids"]
    return decoded(ids) if ids.dtype == object else ids


def _checked(songs: Any, signature: Signature, ignore: Collection[str]) -> list[Song]:
    rows = as_songs(songs)
    check_fields(rows, signature, ignore)
    return rows

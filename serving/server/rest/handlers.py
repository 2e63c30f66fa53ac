"""What each REST path does, without HTTP around it.

Source: tensorflow_serving/model_servers/{http_rest_api_handler,http_rest_api_util}.cc.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes

from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.protocol.errors import RequestError, invalid_argument
from serving.protocol.tensors import from_proto
from serving.server.access_log import note
from serving.server.inference.classification import CLASSIFY
from serving.server.inference.context import RunContext
from serving.server.inference.metadata import SIGNATURE_DEF, get_model_metadata
from serving.server.inference.model_spec import signature_name
from serving.server.inference.predict import predict
from serving.server.inference.regression import REGRESS
from serving.server.limits import Answer, Bounds
from serving.server.metrics import Metrics
from serving.server.models.core import ServerCore
from serving.server.models.status import get_model_status
from serving.server.public_text import unforeseen
from serving.server.rest.json_document import parse_lifted, parse_object, read_signature_name, text_of
from serving.server.rest.json_limits import JsonLimits
from serving.server.rest.json_numbers import NotPlainError
from serving.server.rest.replies import (
    classification_to_json,
    metadata_to_json,
    regression_to_json,
    status_to_json,
    tensors_to_json,
)
from serving.server.rest.requests import fill_examples, fill_predict_request
from serving.server.rest.songs import completed
from serving.server.work import Work

logger = logging.getLogger("serving.server")
_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(_MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(
    r"/v1/models(?:/(?P<name>[^/:]+))?(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?P<metadata>/metadata)?",
    re.IGNORECASE,
)

# Of the largest int64.
_INT64_DIGITS = 19


class RestHandlers:
    """Answers requests by path and body.

    Args:
        core: The models.
        settings: As for gRPC.
        metrics: Where requests are counted.
        bounds: What a request may cost.
        json_limits: Of a body.
        strict: Refuse what TensorFlow Serving refuses: missing fields, lists of different length.
    """

    def __init__(
        self,
        core: ServerCore,
        settings: RunContext,
        metrics: Metrics,
        *,
        bounds: Bounds,
        json_limits: JsonLimits,
        strict: bool = False,
    ) -> None:
        self._core = core
        self._bounds = bounds
        self._json_limits = json_limits
        self._strict = strict
        self._settings = replace(settings, metrics=metrics)
        self._metrics = metrics

    def answer(self, method: str, path: str, body: bytes, work: Work) -> bytes | bytearray:
        """Returns the JSON text of the reply, in UTF-8.

        Args:
            method: GET, POST, ...
            path: As sent, not decoded, without the query.
            body: As sent, unpacked.
            work: The time of the request.

        Raises:
            RequestError: With TensorFlow Serving's code and text.
        """
        try:
            return self._answer(method, path, body, work)
        except RequestError:
            raise
        except Exception as error:
            logger.exception("request failed in the server")
            raise unforeseen(error) from error

    def _answer(self, method: str, path: str, body: bytes, work: Work) -> bytes | bytearray:
        work.check()
        if method == "POST" and (match := _PREDICTION.fullmatch(path)):
            return self._infer(match, body, work)
        if method == "GET" and (match := _STATUS.fullmatch(path)):
            return self._describe(match).encode("utf-8", "surrogateescape")
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _infer(self, match: re.Match[str], body: bytes, work: Work) -> bytes | bytearray:
        method = match["method"].lower()
        runs: dict[str, Callable[[re.Match[str], bytes, Work], bytes | bytearray]]
        runs = {"predict": self._predict, "classify": self._classify, "regress": self._regress}
        name = _decoded(match["name"])
        with self._metrics.counted(name, method.capitalize(), "REST"):
            try:
                return runs[method](match, body, work)
            except RecursionError as error:
                raise invalid_argument("JSON Parse error: the document is nested too deeply") from error
            except UnicodeEncodeError as error:
                # Values may be any bytes. Names of signatures, inputs and features must be UTF-8.
                raise invalid_argument(
                    f"JSON Value: {text_of(error.object)} is not valid UTF-8, as a name must be"
                ) from error

    def _predict(self, match: re.Match[str], body: bytes, work: Work) -> bytearray:
        request = predict_pb2.PredictRequest()
        _fill_model_spec(match, request.model_spec)
        note(request)
        form = self._read(request, body)
        note(request)
        response = self._run(predict, request, work)
        outputs = {key: from_proto(value) for key, value in sorted(response.outputs.items())}
        return tensors_to_json(outputs, form, work.check)

    def _read(self, request: predict_pb2.PredictRequest, body: bytes) -> str:
        """Puts a body into a PredictRequest and returns the format that the reply must have."""
        self._json_limits.check(body)
        if (lifted := parse_lifted(body)) is not None:
            # What is wrong with a body is told from all of it.
            with suppress(NotPlainError, RequestError):
                return self._fill(request, lifted)
            request.inputs.clear()
        return self._fill(request, parse_object(body))

    def _fill(self, request: predict_pb2.PredictRequest, document: Mapping[str, Any]) -> str:
        self._bounds.limits.check_body(document)
        request.model_spec.signature_name = read_signature_name(document)
        name = signature_name(request.model_spec)
        with self._core.lease(request.model_spec) as lent:
            signature = lent.servable.signatures.get(name)
            if signature is None:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            if not signature.inputs:
                raise invalid_argument(f"Failed to get input map for signature: {name}")
            if not self._strict:
                document = completed(document, signature, self._bounds.limits)
            return fill_predict_request(document, signature, request)

    def _classify(self, match: re.Match[str], body: bytes, work: Work) -> bytes:
        request = classification_pb2.ClassificationRequest()
        self._fill_examples(match, body, request)
        text = classification_to_json(self._run(CLASSIFY.answer, request, work).result)
        return text.encode("utf-8", "surrogateescape")

    def _regress(self, match: re.Match[str], body: bytes, work: Work) -> bytes:
        request = regression_pb2.RegressionRequest()
        self._fill_examples(match, body, request)
        return regression_to_json(self._run(REGRESS.answer, request, work).result).encode()

    def _run(self, answer: Answer, request: Any, work: Work) -> Any:
        work.check()
        response = self._bounds.around(answer)(self._core, request, replace(self._settings, work=work))
        work.check()
        note(request, response)
        return response

    def _fill_examples(self, match: re.Match[str], body: bytes, request: Any) -> None:
        _fill_model_spec(match, request.model_spec)
        self._json_limits.check(body)
        document = parse_object(body)
        self._bounds.limits.check_body(document)
        request.model_spec.signature_name = read_signature_name(document)
        fill_examples(document, request)
        note(request)

    def _describe(self, match: re.Match[str]) -> str:
        if not match["name"]:
            raise invalid_argument("Missing model name in request.")
        if match["metadata"]:
            metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[SIGNATURE_DEF])
            _fill_model_spec(match, metadata.model_spec)
            note(metadata)
            return metadata_to_json(get_model_metadata(self._core, metadata))
        status = get_model_status_pb2.GetModelStatusRequest()
        _fill_model_spec(match, status.model_spec)
        note(status)
        return status_to_json(get_model_status(self._core, status))


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise invalid_argument(f"Failed to decode model name:{text}") from error


def _version_number(digits: str) -> int:
    """Returns the number that digits stand for. Python itself refuses to read thousands of them."""
    significant = digits.lstrip("0")
    if len(significant) > _INT64_DIGITS or int(significant or "0") >= 2**63:
        raise invalid_argument(f"Failed to convert version: {digits[:100]} to numeric.")
    return int(significant or "0")


def _fill_model_spec(match: re.Match[str], model_spec: Any) -> None:
    model_spec.name = _decoded(match["name"])
    if match["version"]:
        model_spec.version.value = _version_number(match["version"])
    if match["label"]:
        model_spec.version_label = _decoded(match["label"])

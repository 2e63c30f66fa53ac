"""What each REST path does, without HTTP around it.

Source: tensorflow_serving/model_servers/{http_rest_api_handler,http_rest_api_util}.cc.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
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
from serving.server.metrics import Metrics
from serving.server.models.core import ServerCore
from serving.server.models.status import get_model_status
from serving.server.public_text import unforeseen
from serving.server.rest.json_document import parse_object, read_signature_name, text_of
from serving.server.rest.replies import (
    classification_to_json,
    metadata_to_json,
    regression_to_json,
    status_to_json,
    tensors_to_json,
)
from serving.server.rest.requests import fill_examples, fill_predict_request
from serving.server.rest.songs import completed

logger = logging.getLogger("serving.server")
_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(_MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(
    r"/v1/models(?:/(?P<name>[^/:]+))?(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?P<metadata>/metadata)?",
    re.IGNORECASE,
)


class RestHandlers:
    """Answers requests by path and body.

    Args:
        core: The models.
        settings: As for gRPC, with the time limit of REST.
        metrics: Where requests are counted.
        strict: Refuse what TensorFlow Serving refuses: missing fields, lists of different length.
    """

    def __init__(self, core: ServerCore, settings: RunContext, metrics: Metrics, *, strict: bool = False) -> None:
        self._core = core
        self._strict = strict
        self._settings = replace(settings, metrics=metrics)
        self._metrics = metrics

    def answer(self, method: str, path: str, body: bytes) -> str:
        """Returns the JSON text of the reply.

        Args:
            method: GET, POST, ...
            path: As sent, not decoded, without the query.
            body: As sent.

        Raises:
            RequestError: With TensorFlow Serving's code and text.
        """
        try:
            return self._answer(method, path, body)
        except RequestError:
            raise
        except Exception as error:
            logger.exception("request failed in the server")
            raise unforeseen(error) from error

    def _answer(self, method: str, path: str, body: bytes) -> str:
        if method == "POST" and (match := _PREDICTION.fullmatch(path)):
            return self._infer(match, body)
        if method == "GET" and (match := _STATUS.fullmatch(path)):
            return self._describe(match)
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _infer(self, match: re.Match[str], body: bytes) -> str:
        method = match["method"].lower()
        run = {"predict": self._predict, "classify": self._classify, "regress": self._regress}[method]
        name = _decoded(match["name"])
        with self._metrics.counted(name, method.capitalize(), "REST"):
            try:
                return run(match, body)
            except RecursionError as error:
                raise invalid_argument("JSON Parse error: the document is nested too deeply") from error
            except UnicodeEncodeError as error:
                # Values may be any bytes. Names of signatures, inputs and features must be UTF-8.
                raise invalid_argument(
                    f"JSON Value: {text_of(error.object)} is not valid UTF-8, as a name must be"
                ) from error

    def _predict(self, match: re.Match[str], body: bytes) -> str:
        request = predict_pb2.PredictRequest()
        _fill_model_spec(match, request.model_spec)
        note(request)
        document: Mapping[str, Any] = parse_object(body)
        request.model_spec.signature_name = read_signature_name(document)
        name = signature_name(request.model_spec)
        with self._core.lease(request.model_spec) as lent:
            signature = lent.servable.signatures.get(name)
            if signature is None:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            if not signature.inputs:
                raise invalid_argument(f"Failed to get input map for signature: {name}")
            if not self._strict:
                document = completed(document, signature)
            form = fill_predict_request(document, signature, request)
        note(request)
        response = predict(self._core, request, self._settings)
        note(request, response)
        return tensors_to_json({key: from_proto(value) for key, value in sorted(response.outputs.items())}, form)

    def _classify(self, match: re.Match[str], body: bytes) -> str:
        request = classification_pb2.ClassificationRequest()
        self._fill_examples(match, body, request)
        response = CLASSIFY.answer(self._core, request, self._settings)
        note(request, response)
        return classification_to_json(response.result)

    def _regress(self, match: re.Match[str], body: bytes) -> str:
        request = regression_pb2.RegressionRequest()
        self._fill_examples(match, body, request)
        response = REGRESS.answer(self._core, request, self._settings)
        note(request, response)
        return regression_to_json(response.result)

    def _fill_examples(self, match: re.Match[str], body: bytes, request: Any) -> None:
        _fill_model_spec(match, request.model_spec)
        document = parse_object(body)
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


def _fill_model_spec(match: re.Match[str], model_spec: Any) -> None:
    model_spec.name = _decoded(match["name"])
    if match["version"]:
        if int(match["version"][:20]) >= 2**63:
            raise invalid_argument(f"Failed to convert version: {match['version']} to numeric.")
        model_spec.version.value = int(match["version"])
    if match["label"]:
        model_spec.version_label = _decoded(match["label"])

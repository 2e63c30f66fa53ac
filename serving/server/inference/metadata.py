"""GetModelMetadata and GetModelStatus.

Source: tensorflow_serving/servables/tensorflow/get_model_metadata_impl.cc, model_servers/get_model_status_impl.cc.
"""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.protocol.errors import invalid_argument, not_found
from serving.server.inference.model_spec import check_model_spec
from serving.server.models.core import ServerCore

SIGNATURE_DEF = "signature_def"


def get_model_metadata(core: ServerCore, request: Any) -> Any:
    """Returns the signatures of a version, packed as TensorFlow Serving packs them.

    Raises:
        RequestError: With TensorFlow Serving's code and text; the request is checked before the model is looked up.
    """
    check_model_spec(request)
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with core.lease(request.model_spec) as lent:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in lent.servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.model_spec.name = lent.name
        response.model_spec.version.value = lent.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def get_model_status(core: ServerCore, request: Any) -> Any:
    """Returns the states of a model's versions, highest first. A label is ignored, as in TensorFlow Serving.

    Raises:
        RequestError: If there is no ModelSpec, or nothing is known of the model or version.
    """
    check_model_spec(request)
    name = request.model_spec.name
    states = core.versions.states(name)
    if request.model_spec.WhichOneof("version_choice") == "version":
        version = request.model_spec.version.value
        if version not in states:
            raise not_found(f"Could not find version {version} of model {name}")
        states = {version: states[version]}
    if not states:
        raise not_found(f"Could not find any versions of model {name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, known in sorted(states.items(), reverse=True):
        status = response.model_version_status.add(version=version, state=known.state)
        status.status.error_code = known.error.number if known.error else 0
        status.status.error_message = known.error.message if known.error else ""
    return response

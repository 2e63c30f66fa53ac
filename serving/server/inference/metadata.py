"""GetModelMetadata.

Source: tensorflow_serving/servables/tensorflow/get_model_metadata_impl.cc.
"""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import get_model_metadata_pb2

from serving.protocol.errors import invalid_argument
from serving.server.inference.model_spec import check_model_spec
from serving.server.inference.servable import Models

SIGNATURE_DEF = "signature_def"


def get_model_metadata(models: Models, request: Any) -> Any:
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
    with models.lease(request.model_spec) as lent:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in lent.servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.model_spec.name = lent.name
        response.model_spec.version.value = lent.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response

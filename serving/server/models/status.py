"""GetModelStatus.

Source: tensorflow_serving/model_servers/get_model_status_impl.cc.
"""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import get_model_status_pb2

from serving.protocol.errors import not_found
from serving.server.inference.model_spec import check_model_spec
from serving.server.models.core import ServerCore


def get_model_status(core: ServerCore, request: Any) -> Any:
    """Returns the states of a model's versions, highest first. A label is ignored, as in TensorFlow Serving.

    Raises:
        RequestError: If there is no ModelSpec, or nothing is known of the model or version.
    """
    check_model_spec(request)
    name = request.model_spec.name
    states = core.versions.states(name)
    if request.model_spec.WhichOneof("version_choice") == "version":
        version = core.version_number(request.model_spec)
        if version is not None:
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

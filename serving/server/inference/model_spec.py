"""Which model, version and signature a request asks for, and which answered."""

from __future__ import annotations

from typing import Any

from serving.protocol.errors import invalid_argument

DEFAULT_SIGNATURE = "serving_default"


def check_model_spec(request: Any) -> None:
    """Refuses a request that names no model."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def signature_name(model_spec: Any) -> str:
    """Returns the name of the signature that a ModelSpec asks for."""
    return str(model_spec.signature_name or DEFAULT_SIGNATURE)


def set_model_spec(target: Any, model_spec: Any, version: int) -> None:
    """Writes into a reply which signature of which version answered."""
    target.name = model_spec.name
    target.signature_name = signature_name(model_spec)
    target.version.value = version

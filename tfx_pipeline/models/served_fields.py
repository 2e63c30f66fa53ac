"""Whether a catalogue has the fields that a served model was trained on."""

from __future__ import annotations

from serving.refresh.saved_version import RefreshError
from serving.savedmodel.raw_fields import RawField
from tfx_pipeline import contract


def check_fields(found: tuple[contract.SongField, ...], taken: tuple[RawField, ...]) -> None:
    """Checks that the catalogue's fields are the model's; one without a value in any song may be absent.

    Raises:
        RefreshError: If a field is of another kind or length, or the catalogue has none of the model's.
    """
    by_name = {field.name: field for field in found}
    for field in taken:
        other = by_name.get(field.name)
        if other is not None and (other.kind, other.length) != (field.kind, field.length):
            raise RefreshError(
                f"songs, field `{field.name}`: expected {field.kind} of length {field.length}, which the model was "
                f"trained on. Received: {other.kind} of length {other.length}"
            )
    if not any(field.name in by_name for field in taken):
        names = ", ".join(field.name for field in taken)
        raise RefreshError(f"songs: expected fields that the model was trained on ({names}). Received: none of them")

"""TFX component: the schema that Transform takes, from the song fields, checked against what the data showed."""

import os

from tfx import v1 as tfx
from tfx.utils import io_utils

from tfx_pipeline import contract
from tfx_pipeline.models import features
from tfx_pipeline.tfx_extensions.components import component


@component
def SongSchema(  # noqa: N802
    inferred: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Schema],
    schema: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Schema],
    fields: tuple[contract.SongField, ...],
) -> None:
    """Writes the schema of labelled songs: id, fields and labels, without the columns that are only for display.

    Args:
        inferred: Schema inferred from the songs' statistics.
        schema: The schema for Transform.
        fields: The song fields.

    Raises:
        ValueError: If a field is absent from the data or has another type there.
    """
    curated = features.song_schema(fields)
    seen = io_utils.SchemaReader().read(os.path.join(inferred.uri, "schema.pbtxt"))
    features.check_types(curated, {feature.name: feature.type for feature in seen.feature}, fields)
    io_utils.write_pbtxt_file(os.path.join(schema.uri, "schema.pbtxt"), curated)

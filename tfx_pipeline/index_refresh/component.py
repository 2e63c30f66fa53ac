"""TFX component: the refresh of a served index by the catalogue, without training."""

import os

from tfx import v1 as tfx
from tfx.utils import io_utils, path_utils

from serving.refresh.index import refreshed_index
from serving.refresh.saved_version import SavedVersion, write_version
from serving.refresh.takedown import taken_down
from tfx_pipeline import contract
from tfx_pipeline.models.served_fields import check_fields
from tfx_pipeline.tfx_extensions.components import component
from tfx_pipeline.tfx_extensions.example_files import ALL, read_examples, split_pattern
from tfx_pipeline.tfx_extensions.saved_models import saved_model_of


@component
def IndexRefresher(  # noqa: N802
    served: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Model],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    fields: tuple[contract.SongField, ...],
    max_dropped: tfx.dsl.components.Parameter[float],
    serving_dir: tfx.dsl.components.Parameter[str],
    gone: tfx.dsl.components.Parameter[str],
) -> None:
    """Adds the songs that the index lacks, drops those that the catalogue lacks, and keeps all others unchanged.

    Args:
        served: The model to start from: a version folder that an Importer names, or a Trainer's output.
        songs: tf.Examples of the whole catalogue, split `all`. Plays are not needed.
        model: The same model with the new index. Custom properties `added`, `dropped` and `kept` count songs.
        blessing: Custom property `blessed` is 1 if there is any change, so that Pusher pushes no unchanged index. There
            is a file of that name, as from TFX's Evaluator.
        fields: The song fields of the catalogue.
        max_dropped: The largest share of the index that may be dropped.
        serving_dir: Folder of the model's versions, where songs that were taken down are recorded.
        gone: Digest of that record, so that the cache follows it.
    """
    del gone
    saved_model = saved_model_of(served.uri)
    with SavedVersion(saved_model) as version:
        check_fields(fields, version.fields)
        index, changes = refreshed_index(
            version,
            read_examples(split_pattern(songs, ALL)),
            drop=taken_down(serving_dir),
            is_catalogue=True,
            max_dropped=max_dropped,
        )
    write_version(saved_model, path_utils.serving_model_dir(model.uri), index)
    counts = {"added": len(changes.added), "dropped": len(changes.dropped), "kept": changes.kept}
    for name, count in counts.items():
        model.set_int_custom_property(name, count)
    blessing.set_int_custom_property("blessed", int(bool(changes)))
    io_utils.write_string_file(os.path.join(blessing.uri, "BLESSED" if changes else "NOT_BLESSED"), "")

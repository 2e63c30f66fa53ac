"""TFX component: the judged model, with the held-out songs added to its index."""

from tfx import v1 as tfx
from tfx.utils import path_utils

from serving.refresh.index import refreshed_index
from serving.refresh.saved_version import SavedVersion, write_version
from tfx_pipeline.contract.splits import WARM
from tfx_pipeline.tfx_extensions.components import component
from tfx_pipeline.tfx_extensions.example_files import read_examples, split_pattern
from tfx_pipeline.tfx_extensions.saved_models import saved_model_of


@component
def HeldOutIndexer(  # noqa: N802
    judged: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    labelled_songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Model],
) -> None:
    """Adds the songs that the index lacks, embedded by their content as a refresh embeds new songs.

    Args:
        judged: The model that was judged.
        labelled_songs: Songs by split, with none held out; those of split `warm` are to be in the index.
        model: The same model with the new index. Custom property `added` counts the songs that came.
    """
    saved_model = saved_model_of(judged.uri)
    with SavedVersion(saved_model) as version:
        known = frozenset(version.index.names())
        songs = read_examples(split_pattern(labelled_songs, WARM))
        # By id, so that the order does not depend on how a runner wrote them.
        held_out = sorted(song for song in songs if song[0] not in known)
        index, changes = refreshed_index(version, held_out)
    write_version(saved_model, path_utils.serving_model_dir(model.uri), index)
    model.set_int_custom_property("added", len(changes.added))

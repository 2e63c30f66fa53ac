"""TFX component: judges the model on cold songs beside the last pushed one, and blesses it if it may be pushed."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import tensorflow as tf
import tensorflow_transform as tft
from tfx import v1 as tfx
from tfx.utils import io_utils

from bcl_keras.fields import Array
from serving.files.whole_files import earlier
from serving.refresh.index import SONGS_AT_ONCE
from serving.refresh.saved_version import RefreshError
from serving.savedmodel.publish import PublishError, latest_version
from serving.savedmodel.raw_fields import fields_of_specs, song_id_of
from tfx_pipeline import contract
from tfx_pipeline.contract.ids import SONG_ID, id_array, texts
from tfx_pipeline.contract.splits import TEST, VALIDATION, WARM, ColdSplit
from tfx_pipeline.evaluation import chance_report
from tfx_pipeline.evaluation.catalogue_embedding import EMBEDDINGS, MATCHES
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.margins import refusals
from tfx_pipeline.evaluation.reliability import COLUMNS
from tfx_pipeline.evaluation.reliability_report import reliability_report
from tfx_pipeline.evaluation.retrieval import evaluate
from tfx_pipeline.models.match_chances import FEWEST_SONGS
from tfx_pipeline.models.served_fields import check_fields
from tfx_pipeline.models.song_table import SongTable, read_song_table, split_uris
from tfx_pipeline.tfx_extensions.artifacts import SongEmbeddings, read_learnt
from tfx_pipeline.tfx_extensions.components import component
from tfx_pipeline.tfx_extensions.example_files import split_pattern

logger = logging.getLogger(__name__)

REPORT = "report.json"


@component
def RetrievalEvaluator(  # noqa: N802
    transformed_songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    transform_graph: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.TransformGraph],
    embeddings: tfx.dsl.components.InputArtifact[SongEmbeddings],
    labelled_songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    evaluation: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    serving_dir: tfx.dsl.components.Parameter[str],
    fields: tuple[contract.SongField, ...],
    settings: EvaluationConfig,
    judged_dir: tfx.dsl.components.Parameter[str],
    split: ColdSplit,
) -> None:
    """Writes `report.json`, and blesses a model that keeps the margins on validation songs (`margins.refusals`).

    The report also has the reliability of matches (`tfx_pipeline.evaluation.reliability`), and whether their chances
    come true (`tfx_pipeline.evaluation.chance_report`).

    A pushed model that was trained again on all songs has learnt from the songs that are held out today. So it is
    represented by its judged model, which has not. The last push is not part of the cache key: the same model with the
    same settings is judged once.

    Args:
        transformed_songs: Transformed songs by split.
        transform_graph: The transform that wrote them.
        embeddings: Embeddings of the catalogue.
        labelled_songs: The raw songs by split, which the judged model of the last push embeds.
        evaluation: Holds `report.json`: estimates by split, row and metric, and why the model was refused.
        blessing: Custom property `blessed` is 1 or 0, and a file of that name is there, as TFX's Evaluator leaves it.
        serving_dir: Folder of the pushed versions; may be absent.
        fields: The song fields.
        settings: How the model is judged.
        judged_dir: Folder of the judged model of the last push, where what was pushed was trained again; may be absent.
        split: Which songs are held out. A model is not compared if other songs were held out for it, because it has
            learnt from today's.
    """
    uris = split_uris(transformed_songs.uri, (WARM, VALIDATION, TEST))
    transform = tft.TFTransformOutput(transform_graph.uri)
    table = read_song_table(uris, transform, fields)
    found = last_judged(serving_dir, judged_dir, split)
    last = None if found is None else last_embeddings(found, labelled_songs, table, fields)
    embedded = read_embeddings(embeddings.uri, table)
    reports = evaluate(table, fields, *embedded, settings, last)
    reasons = refusals(reports, settings)
    blessed = not reasons
    report = {"settings": asdict(settings), "blessed": blessed, "refused_because": reasons} | {
        name: report.to_dict() for name, report in reports.items()
    }
    report["reliability"] = reliability_report(table, *embedded, read_matches(embeddings.uri, COLUMNS), settings)
    of_test = drawn_test_songs(table, settings)
    chances = chance_report.chance_report(table, read_matches(embeddings.uri, chance_report.COLUMNS, of_test))
    validation = int(((table.splits == VALIDATION) & (table.similar_ids != b"").any(axis=1)).sum())
    report["chances"] = {"validation_songs": validation, "needed": FEWEST_SONGS, "test": chances}
    io_utils.write_string_file(os.path.join(evaluation.uri, REPORT), json.dumps(report, indent=2))
    blessing.set_int_custom_property("blessed", int(blessed))
    io_utils.write_string_file(os.path.join(blessing.uri, "BLESSED" if blessed else "NOT_BLESSED"), "")


def last_judged(serving_dir: str, judged_dir: str, split: ColdSplit) -> str | None:
    """Returns the model to compare with: the last pushed one as it was judged; None where there is none."""
    try:
        version, path = latest_version(serving_dir)
    except PublishError:
        return None
    learnt = read_learnt(path)
    if learnt is not None and learnt.get("refit"):
        # A run that was killed while it stored its judged model left the earlier one under its other name.
        path = judged_dir if os.path.isdir(judged_dir) else str(earlier(judged_dir))
        if not os.path.isdir(path):
            logger.warning(
                "The model is not compared with version %d, whose judged model is not in %s", version, judged_dir
            )
            return None
        learnt = read_learnt(path)
    if learnt is not None and not ColdSplit(**learnt["split"]).holds_out_as(split):
        logger.warning("The model is not compared with version %d, for which other songs were held out", version)
        return None
    logger.info("The model is compared with version %d, as it was judged: %s", version, path)
    return path


def last_embeddings(
    path: str,
    labelled_songs: tfx.types.standard_artifacts.Examples,
    table: SongTable,
    fields: tuple[contract.SongField, ...],
) -> tuple[Array, Array] | None:
    """Returns the query and the candidate embeddings of today's songs by an earlier model.

    None if it cannot read today's songs because a field is of another kind now.
    """
    signatures = tf.saved_model.load(path).signatures
    try:
        check_fields(fields, fields_of_specs(signatures["embed"].structured_input_signature[1]))
    except RefreshError as error:
        logger.warning("The model is not compared with that in %s: %s", path, error)
        return None
    parts: dict[str, list[Array]] = {"serving_default": [], "candidate": []}
    rows: list[Array] = []
    for split in (WARM, VALIDATION, TEST):
        files = tf.io.gfile.glob(split_pattern(labelled_songs, split))
        for examples in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(SONGS_AT_ONCE):
            rows.append(table.rows_of(id_array(map(song_id_of, examples.numpy()))))
            for name, found in parts.items():
                found.append(signatures[name](examples=examples)["embedding"].numpy())
    order = np.argsort(np.concatenate(rows))
    queries, candidates = (np.concatenate(parts[name])[order] for name in ("serving_default", "candidate"))
    return queries, candidates


def drawn_test_songs(table: SongTable, settings: EvaluationConfig) -> Array:
    """Returns ids of test songs, as many as are judged."""
    songs = np.flatnonzero(table.splits == TEST)
    return np.asarray(table.ids[np.random.default_rng(settings.seed).permutation(songs)[: settings.max_songs]])


def read_matches(uri: str, columns: Sequence[str], songs: Array | None = None) -> pa.Table:
    """Returns columns of the matches of songs.

    Args:
        uri: Folder of the matches.
        columns: Those that are read beside the ids of the songs.
        songs: Ids; None for all songs.
    """
    files = [os.path.join(uri, name) for name in sorted(os.listdir(uri)) if name.startswith(MATCHES)]
    wanted = None if songs is None else ds.field(SONG_ID).isin(pa.array(texts(songs), pa.string()))
    return ds.dataset(files, format="parquet").to_table(columns=[SONG_ID, *columns], filter=wanted)


def read_embeddings(uri: str, table: SongTable) -> tuple[Array, Array]:
    """Returns the query and the candidate embeddings of the songs of `table`, in its order.

    Raises:
        ValueError: If a song has no embedding.
    """
    files = [os.path.join(uri, name) for name in sorted(os.listdir(uri)) if name.startswith(EMBEDDINGS)]
    stored = ds.dataset(files, format="parquet").to_table()
    rows = table.rows_of(id_array(stored[SONG_ID]))
    if len(np.unique(rows[rows >= 0])) != len(table):
        raise ValueError(f"embeddings: expected one for each of {len(table)} songs. Received: {(rows >= 0).sum()}")
    kept = np.flatnonzero(rows >= 0)
    by_name = {}
    for name in ("embedding", "candidate_embedding"):
        flat = stored[name].combine_chunks().flatten().to_numpy().reshape(stored.num_rows, -1)
        if not flat.shape[1] or not np.isfinite(flat).all():
            raise ValueError(f"embeddings, column `{name}`: expected finite vectors. Received: length {flat.shape[1]}")
        by_name[name] = np.empty((len(table), flat.shape[1]), np.float32)
        by_name[name][rows[kept]] = flat[kept]
    return by_name["embedding"], by_name["candidate_embedding"]

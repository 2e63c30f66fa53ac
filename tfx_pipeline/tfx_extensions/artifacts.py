"""Artifact types of our components, and names of files in artifacts that several components use.

Vertex AI asks for type names of the form `<namespace>.<title>`.
"""

import json
import os
from typing import Any

from tfx.types.artifact import Artifact

#: In a model run and in the model's `assets.extra`: the Trainer's report, for people and for the refit.
LEARNT = "learnt.json"
#: In the blessing of a served model and in the pushed model's `assets.extra`: the report on judged and served model.
SERVED = "served.json"
#: In the artifact of the run page.
PAGE = "run.html"
#: Folder of a SavedModel. TensorFlow Serving reads only the warm-up requests in it.
EXTRA = "assets.extra"


class SongEmbeddings(Artifact):
    """Embeddings and matches of the whole catalogue.

    `embeddings-*.parquet`: song_id, split, embedding (of its content), candidate_embedding (as in the index).
    `matches-*.parquet`: song_id, match_ids, match_scores, for every song outside the index, with empty lists for a song
    without known values. match_shares and share_names explain the scores; known_fields, evidence and evidence_names are
    what their reliability is estimated from.
    """

    TYPE_NAME = "bcl.SongEmbeddings"


class TargetListeners(Artifact):
    """Target listeners of cold songs, and a summary per song: see `tfx_pipeline.targeting`."""

    TYPE_NAME = "bcl.TargetListeners"


class CountWeight(Artifact):
    """`weight.json`: the weight of the count in targeting that validation songs of the judged model chose."""

    TYPE_NAME = "bcl.CountWeight"


class DataReport(Artifact):
    """`report.txt`: how the data differs from that of the last pushed run, a line per column."""

    TYPE_NAME = "bcl.DataReport"


class RunReport(Artifact):
    """`run.html`: what came in, what was learnt, what was blessed and why, and examples; opens offline."""

    TYPE_NAME = "bcl.RunReport"


def read_learnt(saved_model: str) -> dict[str, Any] | None:
    """Returns the Trainer's report of an exported model; None where it has none."""
    path = os.path.join(saved_model, EXTRA, LEARNT)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return dict(json.load(file))

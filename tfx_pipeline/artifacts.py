"""Artifact types of our own components, and files that one component writes into another's artifact.

Vertex AI asks for type names of the form `<namespace>.<title>`.
"""

from tfx.types.artifact import Artifact

#: In the Trainer's model run: what was learnt and chosen, for people.
LEARNT = "learnt.json"


class SongEmbeddings(Artifact):
    """Embeddings and matches of the whole catalogue.

    `embeddings-*.parquet`: song_id, split, embedding (of its content), candidate_embedding (as in the index).
    `matches-*.parquet`: song_id, match_ids, match_scores, for every song that is not in the index.
    """

    TYPE_NAME = "bcl.SongEmbeddings"


class TargetListeners(Artifact):
    """Target listeners of cold songs, and a summary per song: see `tfx_pipeline.targeting`."""

    TYPE_NAME = "bcl.TargetListeners"


class DataReport(Artifact):
    """`report.txt`: how the data differs from that of the last pushed run, a line per column."""

    TYPE_NAME = "bcl.DataReport"


class RunReport(Artifact):
    """`run.html`: what came in, what was learnt, what was blessed and why, and examples; opens offline."""

    TYPE_NAME = "bcl.RunReport"

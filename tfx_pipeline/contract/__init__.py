"""What may come in: a folder with songs.parquet and plays.parquet, from which the pipeline reads its fields.

Imports: evaluation, labels, models, runtime, serving.files.
Imported by: columnar, datasets, evaluation, gates, index_refresh, labels, local_run, models, outputs, refit, removal,
reports, targeting, tfx_extensions, the entrances.

songs.parquet: `song_id`, strings, unique, never null; features named `attribute_*`, `audio_*` or `lyric_*`. Their Arrow
type says the kind: string = category, list<string> = multi-valued category, int or float = number, list<float> of one
length = dense vector. Null means missing; so do the empty string, the empty list and a vector with a null element. A
feature without a value in any row is left out, with a note. Every other column is carried for display and never reaches
the model. Notes say which of them could, and under what name (`column_notes`).

plays.parquet: `user_id`, `song_id`, strings; optional `plays` int (1 where absent or null; rows with 0 are left out),
`liked` bool, `timestamp` (timestamp, or seconds since 1970). A user may have several rows for one song. Plays of
unknown songs are left out up to a stated share. Dictionary-encoded and large Arrow types are taken as the plain ones.

CSV is accepted in place of Parquet; `csv.file` states how its cells are read.

Columns may have names of the user's own: `column_names` maps them, and `source` reads every table by that mapping. So
all other modules know the contract's names alone. Messages name the columns as the files do.

`training` counts what training needs beside that: enough listeners, and songs that share them.

Of `evaluation`, `labels` and `models` it imports only the settings (`*.config`).
"""

from tfx_pipeline.contract.catalogue import Catalogue, check
from tfx_pipeline.contract.column_names import ColumnNames
from tfx_pipeline.contract.errors import ContractError
from tfx_pipeline.contract.fields import SongField, fields_of
from tfx_pipeline.contract.plays_check import CheckConfig
from tfx_pipeline.contract.prepare import PLAYS, SONGS, load_prepared, prepare
from tfx_pipeline.contract.training.needs import TrainingNeeds

__all__ = [
    "PLAYS",
    "SONGS",
    "Catalogue",
    "CheckConfig",
    "ColumnNames",
    "ContractError",
    "SongField",
    "TrainingNeeds",
    "check",
    "fields_of",
    "load_prepared",
    "prepare",
]

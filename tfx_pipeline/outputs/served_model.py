"""Asks the pushed model about one song, through a server in this process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from tfx_pipeline import contract
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.outputs.reading import rows_of
from tfx_pipeline.outputs.titles import NAMING
from tfx_pipeline.runtime.console import import_quietly
from tfx_pipeline.runtime.run_folder import RunFolder

if TYPE_CHECKING:
    from serving.client import Client, Signature

_NAME = "bcl"
_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ServedMatches:
    """Ids and scores of similar songs, best first.

    Attributes:
        known_fields: Number of fields of the song that the model knows; None for models that do not return it.
        shares: By match and name, what each part of the song contributes to the score. Other matches are left out.
        chances: How likely each match is right, and the two bounds of the interval; empty where none were fitted.
    """

    ids: list[str]
    scores: list[float]
    known_fields: int | None
    version: str
    shares: dict[str, dict[str, float]]
    chances: list[list[float]]


def matches_of(folder: RunFolder, song: Mapping[str, Any], count: int) -> ServedMatches:
    """Returns the songs of the index that are most similar; never the song itself, if it has a `song_id`.

    Raises:
        PublishError: If no model was pushed.
        ValueError, TypeError: If the song does not fit the model's fields, or the model does not return so many.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import_quietly("tensorflow")
    from serving.client import Client, ServingError, UnknownSongWarning, is_song
    from serving.savedmodel.publish import latest_version
    from serving.server import EmbeddedServer

    base = str(folder.serving)
    version, _ = latest_version(base)  # raises if there is none: a server would wait for one
    display = contract.load_prepared(folder.input).display
    with (
        EmbeddedServer(port=0, model_name=_NAME, model_base_path=base, max_num_load_retries=0) as server,
        Client(server.target, model_name=_NAME, timeout=None) as client,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UnknownSongWarning)  # the answer has a note on it
        song = _with_id_of_index(song, client.metadata()["match"])
        try:
            ids, scores, known, chances = _asked(client, song, count, (*display, *NAMING))
        except ServingError as error:
            raise ValueError(str(error)) from error
        shares = _shares(client, song)
    there = [is_song(match) for match in ids[0]]
    return ServedMatches(
        [str(match) for match in ids[0][there]],
        scores[0][there].tolist(),
        None if known is None else int(known[0]),
        str(version),
        shares,
        [values[0][there].tolist() for values in chances],
    )


def _asked(
    client: Client, song: Mapping[str, Any], count: int, ignore: Sequence[str]
) -> tuple[_Array, _Array, _Array | None, list[_Array]]:
    """Returns ids, scores, known fields, and chances with their bounds where the model has some."""
    if "chance" in client.metadata():
        found = client.chances([song], k=count, ignore=ignore)
        return found.ids, found.scores, found.known_fields, [found.chance, found.low, found.high]
    ids, scores, known = client.match([song], k=count, ignore=ignore, with_known_fields=True)
    return ids, scores, known, []


def _with_id_of_index(song: Mapping[str, Any], match: Signature) -> Mapping[str, Any]:
    """Returns the song with its id as the index has ids: the catalogue has whole numbers as text."""
    song_id = song.get(SONG_ID)
    if not isinstance(song_id, str) or match.inputs["exclude"].is_string:
        return song
    return {**song, SONG_ID: int(song_id) if song_id.isascii() and song_id.isdecimal() else None}


def _shares(client: Client, song: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Returns the shares of the best matches, from the signature for bulk work, which every model has."""
    signatures = client.metadata()
    if "shares" not in signatures["match_examples"].outputs:  # a model of an earlier version
        return {}
    found = client.predict({"examples": _as_example(song, signatures["embed"])}, "match_examples")
    names = [name.decode() for name in found["share_names"][0]]
    of_matches = zip(found["song_ids"][0].tolist(), found["shares"][0].tolist(), strict=True)
    return {match.decode(): dict(zip(names, shares, strict=True)) for match, shares in of_matches}


def _as_example(song: Mapping[str, Any], embed: Signature) -> npt.NDArray[np.object_]:
    """Returns the song as input of the signature for bulk work."""
    import tensorflow as tf

    from serving.savedmodel.raw_fields import encode_song, fields_of_specs

    specs = {
        name: tf.TensorSpec(
            [None if size < 0 else size for size in spec.shape or ()], tf.string if spec.is_string else tf.float32
        )
        for name, spec in embed.inputs.items()
    }
    fields = fields_of_specs(specs)
    return np.array([encode_song({field.name: song.get(field.name) for field in fields}, fields)], object)


def song_of_input(folder: RunFolder, song_id: str) -> dict[str, Any] | None:
    """Returns a song of the prepared input, with its fields and what names it; None where it is not there."""
    file = folder.input / contract.SONGS
    wanted = {SONG_ID, *NAMING, *(field.name for field in contract.load_prepared(folder.input).fields)}
    columns = [name for name in pq.read_schema(file).names if name in wanted]
    return next(rows_of(file, [song_id], columns), None)

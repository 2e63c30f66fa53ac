"""The songs that were asked about, a row for each, and the matches that they got."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import tensorflow as tf

from serving.protocol.tensors import from_proto
from serving.savedmodel.raw_fields import SONG_ID

Array = np.ndarray[Any, Any]
_EXCLUDE, _CONTROLS = "exclude", ("k", "exclude")
# The input of serialized songs, and the name that TensorFlow's own exporters give it.
_EXAMPLES = ("examples", "inputs")
_NO_SONG = ("", "-1")


@dataclass(frozen=True)
class Asked:
    """One song of one request.

    Attributes:
        time: When it was answered, to the second.
        request_id: The id that the access log has, too.
        model: Name of the model.
        version: The version that answered.
        signature: What was asked for.
        row: Place of the song in the request, from 0.
        song_id: Its id, where the request had one: in `exclude`, or in its tf.Example.
        song: Its fields as JSON. Missing values are left out.
        match_ids: Ids of its matches, best first; None where none were asked for.
        match_scores: Their scores.
    """

    time: datetime
    request_id: str
    model: str
    version: int
    signature: str
    row: int
    song_id: str | None
    song: str
    match_ids: list[str] | None
    match_scores: list[float] | None


def rows_of(log: Any) -> Iterator[Asked]:
    """Yields a row for each song of a PredictionLog; none for a session run, which has no songs."""
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        yield from _of_predict(log)
    elif kind != "session_run_log":
        for row, song in enumerate(_of_input(getattr(log, kind).request.input)):
            yield _asked(log, row, song)


def _of_predict(log: Any) -> Iterator[Asked]:
    request, reply = log.predict_log.request, log.predict_log.response
    inputs = {name: _array(proto) for name, proto in request.inputs.items()}
    ids, scores = (_array(reply.outputs[name]) if name in reply.outputs else None for name in ("song_ids", "scores"))
    for row in range(max((len(values) for values in inputs.values()), default=0)):
        of_row = {name: values[row] for name, values in inputs.items() if row < len(values)}
        found = _matches(None if ids is None else ids[row], None if scores is None else scores[row])
        yield _asked(log, row, _song(of_row), found)


def _array(proto: Any) -> Array:
    """Returns a tensor with a row for each song. A scalar is one row."""
    return np.atleast_1d(from_proto(proto))


def _asked(
    log: Any, row: int, song: dict[str, Any], found: tuple[list[str] | None, list[float] | None] = (None, None)
) -> Asked:
    about = log.log_metadata
    song_id = song.pop(SONG_ID, None)
    return Asked(
        time=datetime.fromtimestamp(about.timestamp_secs, timezone.utc),
        request_id=about.request_origin,
        model=about.model_spec.name,
        version=about.model_spec.version.value,
        signature=about.model_spec.signature_name,
        row=row,
        song_id=None if song_id is None else str(song_id),
        song=json.dumps(song, ensure_ascii=False, sort_keys=True),
        match_ids=found[0],
        match_scores=found[1],
    )


def _song(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the known fields of one row of a request's inputs."""
    song: dict[str, Any] = {}
    for name, value in values.items():
        if name in _EXAMPLES and isinstance(value, bytes):
            song |= _of_example(tf.train.Example.FromString(value))
        elif name == _EXCLUDE and _text(value) not in _NO_SONG:
            song[SONG_ID] = _text(value)
        elif name not in _CONTROLS and (known := _known(value)) is not None:
            song[name] = known
    return song


def _of_input(examples: Any) -> Iterator[dict[str, Any]]:
    """Yields the songs of an Input, with the context of all."""
    kind = examples.WhichOneof("kind")
    if kind is None:
        return
    both = getattr(examples, kind)
    context = _of_example(both.context) if kind == "example_list_with_context" else {}
    for example in both.examples:
        yield {**context, **_of_example(example)}


def _of_example(example: Any) -> dict[str, Any]:
    song: dict[str, Any] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = [] if kind is None else list(getattr(feature, kind).value)
        dtype = np.float32 if kind == "float_list" else None
        known = _known(np.array(values, object if kind == "bytes_list" else dtype))
        if known is not None:
            song[name] = known[0] if len(known) == 1 else known
    return song


def _known(value: Any) -> Any:
    """Returns a value as JSON has it; None where it is missing: "", NaN, or a list of these."""
    if isinstance(value, np.ndarray):
        found = [_known(one) for one in value]
        if value.dtype.kind == "f" and None in found:
            return None  # one NaN makes a vector missing
        return [one for one in found if one is not None] or None
    if isinstance(value, bytes):
        return _text(value) or None
    if isinstance(value, np.floating):
        number = float(str(value))  # the shortest text: 1.1, not 1.10000002
        return number if math.isfinite(number) else None
    return value.item() if isinstance(value, np.generic) else value


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _matches(ids: Array | None, scores: Array | None) -> tuple[list[str] | None, list[float] | None]:
    """Returns ids and scores of a row's places that have a song."""
    if ids is None:
        return None, None
    names = [_text(value) for value in np.atleast_1d(ids)]
    places = [place for place, name in enumerate(names) if name not in _NO_SONG]
    found = None if scores is None else [float(np.atleast_1d(scores)[place]) for place in places]
    return [names[place] for place in places], found

"""What a client does, whether its caller waits or awaits.

Each operation is a generator (see `serving.client.calls.Steps`). `Client` and `AsyncClient` have the operations of this
class as their own methods and only carry the calls out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np

from serving.client.calls import STATUS, Deadline, Steps
from serving.client.inputs import as_input, decoded, exclude_input, k_input
from serving.client.known_fields import KNOWN_FIELDS, warn_of_unknown
from serving.client.model_calls import Arrays, ModelCalls
from serving.client.results import Explained, Likely, VersionStatus, read_status
from serving.client.signatures import Signature
from serving.client.songs import Song, as_songs, check_fields, song_arrays
from serving.protocol import protos

Array = np.ndarray[Any, Any]


class Operations(ModelCalls):
    """The operations of both clients. Arguments are those of `ModelCalls`."""

    def predict(
        self, inputs: Mapping[str, Any], signature: str = "serving_default", *, timeout: float | None = None
    ) -> Steps[Arrays]:
        """Runs any signature.

        Args:
            inputs: An array, or what numpy makes one of, per input of the signature.
            signature: Default "serving_default".
            timeout: Seconds; default the client's.

        Returns:
            Arrays by name of output; strings as object arrays of bytes.
        """
        deadline = self._deadline(timeout)
        definition = yield from self._signature(signature, deadline)
        arrays = {name: as_input(name, value, definition.inputs.get(name)) for name, value in inputs.items()}
        return (yield from self._run(arrays, definition, deadline))

    @overload
    def embed(
        self,
        songs: Any,
        *,
        ignore: Collection[str] = (),
        with_known_fields: Literal[False] = False,
        timeout: float | None = None,
    ) -> Steps[Array]: ...

    @overload
    def embed(
        self,
        songs: Any,
        *,
        ignore: Collection[str] = (),
        with_known_fields: Literal[True],
        timeout: float | None = None,
    ) -> Steps[tuple[Array, Array | None]]: ...

    def embed(
        self,
        songs: Any,
        *,
        ignore: Collection[str] = (),
        with_known_fields: bool = False,
        timeout: float | None = None,
    ) -> Steps[Any]:
        """Embeds songs by their content.

        Args:
            songs: A dict of raw fields, several, or an Arrow table; an absent field or None is missing. `song_id` may
                be among them.
            ignore: Further columns that are not fields (title, artist); any other unknown field is refused.
            with_known_fields: Whether to return `known_fields`, too; default False.
            timeout: Seconds; default the client's.

        Returns:
            Embeddings `(n, d)` float32; or `(embeddings, known_fields)`. The latter, `(n,)` int32, is how many fields
            of each song the model knows, None where the model was exported without this output.

        Warns:
            UnknownSongWarning: If the model knows no field of a song.
        """
        deadline = self._deadline(timeout)
        definition = yield from self._signature("embed", deadline)
        rows = _checked(songs, definition, ignore)
        outputs = yield from self._run(song_arrays(rows, definition), definition, deadline)
        known_fields = outputs.get(KNOWN_FIELDS)
        warn_of_unknown(known_fields)
        return (outputs["embedding"], known_fields) if with_known_fields else outputs["embedding"]

    @overload
    def match(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        with_known_fields: Literal[False] = False,
        timeout: float | None = None,
    ) -> Steps[tuple[Array, Array]]: ...

    @overload
    def match(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        with_known_fields: Literal[True],
        timeout: float | None = None,
    ) -> Steps[tuple[Array, Array, Array | None]]: ...

    def match(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        with_known_fields: bool = False,
        timeout: float | None = None,
    ) -> Steps[Any]:
        """Finds the songs of the index that are most similar to each song.

        Args:
            songs: As in `embed`.
            k: How many; default 10. A number that the model does not allow, such as 1,001, is refused. Fewer come back
                where the index has fewer songs.
            exclude: Per song an id that must not come back, or None; default each song's own `song_id`.
            ignore: As in `embed`.
            with_known_fields: As in `embed`.
            timeout: As in `embed`.

        Returns:
            `(ids, scores)`, each `(n, k)`, best first; or `(ids, scores, known_fields)`, the last as in `embed`. A song
            of which the model knows no field has no matches: its ids are "" or -1, its scores the lowest float32.

        Warns:
            UnknownSongWarning: If the model knows no field of a song. Models exported earlier return some songs for it.
        """
        outputs = yield from self._matches("match", songs, k, exclude, ignore, self._deadline(timeout))
        ids, scores, known_fields = _ids(outputs), outputs["scores"], outputs.get(KNOWN_FIELDS)
        warn_of_unknown(known_fields)
        return (ids, scores, known_fields) if with_known_fields else (ids, scores)

    def explain(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        timeout: float | None = None,
    ) -> Steps[Explained]:
        """Finds similar songs as `match` does, and what each part of a song gives to each score.

        The model must have been exported with the signature `explain` (setting `explain` of the pipeline).

        Args:
            songs: As in `embed`.
            k: As in `match`.
            exclude: As in `match`.
            ignore: As in `embed`.
            timeout: As in `embed`.

        Raises:
            ValueError: If the model has no such signature.

        Warns:
            UnknownSongWarning: As in `match`.
        """
        outputs = yield from self._matches("explain", songs, k, exclude, ignore, self._deadline(timeout))
        warn_of_unknown(outputs.get(KNOWN_FIELDS))
        parts = tuple(name.decode() for name in outputs["share_names"][0]) if len(outputs["share_names"]) else ()
        return Explained(_ids(outputs), outputs["scores"], outputs["shares"], parts)

    def chances(
        self,
        songs: Any,
        k: int = 10,
        *,
        exclude: Sequence[Any] | None = None,
        ignore: Collection[str] = (),
        timeout: float | None = None,
    ) -> Steps[Likely]:
        """Finds similar songs as `match` does, and how likely each is right.

        The model must have the signature `chance`. The pipeline gives it to a model if there are at least 50 validation
        songs (setting `training.chances`).

        Args:
            songs: As in `embed`.
            k: As in `match`.
            exclude: As in `match`.
            ignore: As in `embed`.
            timeout: As in `embed`.

        Raises:
            ValueError: If the model has no such signature.

        Warns:
            UnknownSongWarning: As in `match`.
        """
        outputs = yield from self._matches("chance", songs, k, exclude, ignore, self._deadline(timeout))
        warn_of_unknown(outputs[KNOWN_FIELDS])
        chance, low, high = (outputs[name] for name in ("chance", "chance_low", "chance_high"))
        return Likely(_ids(outputs), outputs["scores"], chance, low, high, outputs[KNOWN_FIELDS])

    def metadata(self, *, refresh: bool = False, timeout: float | None = None) -> Steps[dict[str, Signature]]:
        """Returns the signatures by name. They are kept.

        Args:
            refresh: Whether to ask again, as after a model with other fields was published; default False.
            timeout: Seconds; default the client's.
        """
        if refresh:
            self._signatures = None
        return (yield from self._known_signatures(self._deadline(timeout)))

    def status(self, *, timeout: float | None = None) -> Steps[list[VersionStatus]]:
        """Returns the versions of the model, highest first."""
        reply = yield from self._ask(STATUS, protos.GetModelStatusRequest(), self._deadline(timeout))
        return read_status(reply)

    def _matches(
        self,
        signature: str,
        songs: Any,
        k: int,
        exclude: Sequence[Any] | None,
        ignore: Collection[str],
        deadline: Deadline,
    ) -> Steps[Arrays]:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"`k` must be an integer of 1 or more. Received: {k!r}")
        definition = yield from self._signature(signature, deadline)
        rows = _checked(songs, definition, ignore)
        arrays = song_arrays(rows, definition)
        if "k" in definition.inputs:
            arrays["k"] = k_input(k, len(rows), definition.inputs["k"])
        if "exclude" in definition.inputs:
            arrays["exclude"] = exclude_input(rows, exclude, definition.inputs["exclude"])
        # A batching server answers all requests of a batch in rows as long as the largest `k` among them asks for.
        return (yield from self._run(arrays, definition, deadline, columns=k))


def _ids(outputs: Arrays) -> Array:
    ids = outputs["song_ids"]
    return decoded(ids) if ids.dtype == object else ids


def _checked(songs: Any, signature: Signature, ignore: Collection[str]) -> list[Song]:
    rows = as_songs(songs)
    check_fields(rows, signature, ignore)
    return rows

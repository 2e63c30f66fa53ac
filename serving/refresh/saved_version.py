"""An exported model on disk: its index read, its songs embedded, and a copy written with another index.

The graph is copied byte for byte. The checkpoint is written again with other values of the index's two variables. So
towers, transform, signatures and the rows of songs that stay are exactly those of the earlier version.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from serving.protocol.arrays import object_array
from serving.savedmodel.raw_fields import KNOWN_FIELDS, RawField, fields_of, integer_id
from serving.savedmodel.session import SavedModelSession
from serving.server.inference.servable import Servable
from serving.server.inference.warmup import warm_up

#: The index in the checkpoint of an exported model: `ServedModel.index` and the variables of `SongIndex`.
IDS_KEY = "index/_identifiers/.ATTRIBUTES/VARIABLE_VALUE"
EMBEDDINGS_KEY = "index/_candidates/.ATTRIBUTES/VARIABLE_VALUE"
_NEEDED = ("candidate", "embed")


class RefreshError(ValueError):
    """The index cannot be refreshed as asked; nothing was written."""


@dataclass(frozen=True)
class SavedIndex:
    """The songs of an index, in its order.

    Attributes:
        ids: `(n,)` object array of bytes, or int64.
        embeddings: `(n, d)` float32.
    """

    ids: np.ndarray[Any, Any]
    embeddings: np.ndarray[Any, Any]

    @property
    def has_integer_ids(self) -> bool:
        """Whether ids are int64."""
        return self.ids.dtype == np.int64

    def names(self) -> list[str]:
        """Returns the ids as text, as songs.parquet has them."""
        return [str(i) if self.has_integer_ids else i.decode() for i in self.ids.tolist()]

    def with_changes(
        self, kept: np.ndarray[Any, Any], new_ids: list[str], new_embeddings: np.ndarray[Any, Any]
    ) -> SavedIndex:
        """Returns the rows where `kept` is true, followed by new ones."""
        ids = np.empty(len(new_ids), self.ids.dtype)
        ids[:] = [integer_id(i) if self.has_integer_ids else i.encode() for i in new_ids]
        return SavedIndex(
            np.concatenate([self.ids[kept], ids]), np.concatenate([self.embeddings[kept], new_embeddings])
        )


class SavedVersion:
    """An exported model, opened to read its index and to embed songs as candidates.

    Args:
        path: Folder of the SavedModel.

    Attributes:
        fields: The raw fields of a song.
        index: The songs of its index.

    Raises:
        RequestError: If the model cannot be loaded.
        RefreshError: If it has no index that can be refreshed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.index = read_index(path)
        self._session = SavedModelSession(path)
        signatures = self._session.signatures
        if missing := [name for name in _NEEDED if name not in signatures]:
            self.close()
            raise RefreshError(f"{path}: expected the signatures {_NEEDED}. Received: a model without {missing}")
        self.fields: tuple[RawField, ...] = fields_of(signatures["embed"])

    def run(self, signature: str, examples: list[bytes]) -> dict[str, np.ndarray[Any, Any]]:
        """Returns the outputs of a signature that takes serialized songs, by name.

        Args:
            signature: Such as `match_examples`.
            examples: Songs as tf.Examples.

        Raises:
            RefreshError: If the model has no such signature.
            RequestError: If TensorFlow cannot read an example.
        """
        found = self._session.signatures.get(signature)
        if found is None or "examples" not in found.inputs:
            raise RefreshError(f"{self.path}: expected the signature {signature}. Received: a model without it")
        outputs = [info.name for info in found.outputs.values()]
        values = self._session.run([(found.inputs["examples"].name, object_array(examples))], outputs)
        return dict(zip(found.outputs, values, strict=True))

    def embed(self, examples: list[bytes]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        """Embeds serialized songs as the index has them.

        Returns:
            Embeddings `(n, d)` float32, and how many fields of each song the model knows, `(n,)` int32; None in place
            of the latter where the model does not say.

        Raises:
            RequestError: If TensorFlow cannot read an example.
        """
        outputs = self.run("candidate", examples)
        # Models exported before this output existed are refreshed like others.
        return outputs["embedding"], outputs.get(KNOWN_FIELDS)

    def close(self) -> None:
        """Frees the model."""
        self._session.close()

    def __enter__(self) -> SavedVersion:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checkpoint(saved_model: str) -> str:
    return os.path.join(saved_model, "variables", "variables")


def read_index(saved_model: str) -> SavedIndex:
    """Returns the index of a version without loading its graph.

    Raises:
        RefreshError: If its variables cannot be read, or hold no index.
    """
    try:
        reader = tf.train.load_checkpoint(_checkpoint(saved_model))
    except (tf.errors.OpError, ValueError) as error:
        raise RefreshError(f"{saved_model}: expected a model with readable variables. Received: {error}") from error
    if not reader.has_tensor(IDS_KEY) or not reader.has_tensor(EMBEDDINGS_KEY):
        raise RefreshError(
            f"{saved_model}: expected a model with an index of songs, as `serving.export.served_model` writes it. "
            "Received: a model without one"
        )
    return SavedIndex(reader.get_tensor(IDS_KEY), reader.get_tensor(EMBEDDINGS_KEY))


def write_version(saved_model: str, out: str, index: SavedIndex) -> None:
    """Writes a copy of a SavedModel with another index, and checks that it loads and answers its warm-up requests.

    Args:
        saved_model: The version to copy.
        out: The folder to write, which must not exist. It is complete only when this returns.
        index: The songs of the new index.

    Raises:
        OSError: If it cannot be written, as where the disk is full.
        RequestError: If what was written does not answer.
    """
    try:
        _copy_with_index(saved_model, out, index)
    except shutil.Error as error:  # a list of what could not be copied
        raise OSError(f"{out}: cannot be written. {error.args[0][0][-1]}") from error
    except tf.errors.OpError as error:
        raise OSError(f"{out}: cannot be written. {error.message.splitlines()[0]}") from error
    servable = Servable("refresh", SavedModelSession(out))
    try:
        warm_up(servable, out, version=0)
    finally:
        servable.close()


def _copy_with_index(saved_model: str, out: str, index: SavedIndex) -> None:
    # The fingerprint has a hash of the checkpoint, which would be wrong. Nothing needs it.
    shutil.copytree(saved_model, out, ignore=shutil.ignore_patterns("variables", "fingerprint.pb"))
    reader = tf.train.load_checkpoint(_checkpoint(saved_model))
    changed = {IDS_KEY: index.ids, EMBEDDINGS_KEY: index.embeddings}
    types = sorted(reader.get_variable_to_dtype_map().items())
    tf.raw_ops.SaveV2(
        prefix=_checkpoint(out),
        tensor_names=[name for name, _ in types],
        shape_and_slices=[""] * len(types),
        tensors=[tf.constant(changed.get(name, reader.get_tensor(name)), dtype) for name, dtype in types],
    )

"""How the fields of the towers are put together: as given, single numbers joined, or one field per modality.

What is grouped is what the contrast compares. With a field for every audio number most groups are audio against audio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from keras import ops

import bcl_keras
from bcl_keras.layers import ContentVector
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem

FieldForm = Literal["given", "numbers joined", "modalities"]


def form_of(problem: Problem, form: FieldForm) -> Callable[[Encoding], Encoding]:
    """Returns the function that puts the fields of an encoding of the problem's songs together."""
    if form == "given":
        return lambda encoding: encoding
    if form == "numbers joined":
        return numbers_joined
    if "modalities" not in problem.shared:
        problem.shared["modalities"] = Modalities(problem)
    return problem.shared["modalities"]


def modality(field: str) -> str:
    """Returns `attribute`, `audio` or `lyric`, as the name of a field starts."""
    return field.split("_", 1)[0]


def numbers_joined(encoding: Encoding) -> Encoding:
    """Returns the encoding with the single numbers of a modality as one vector; it is missing where all of them are."""
    fields, features = [], {}
    for group in dict.fromkeys(modality(field.name) for field in encoding.fields):
        own = [field for field in encoding.fields if modality(field.name) == group]
        numbers = [field.name for field in own if field.kind == "number"]
        joined = numbers if len(numbers) > 1 else []
        fields += [field for field in own if field.name not in joined]
        if joined:
            name = f"{group}_numbers"
            rows = np.stack([encoding.features[each] for each in joined], axis=1)
            missing = np.isnan(rows).all(axis=1, keepdims=True)
            features[name] = np.where(missing, np.nan, np.nan_to_num(rows)).astype(np.float32)
            fields.append(bcl_keras.Field(name, "vector", len(joined)))
    features |= {field.name: encoding.features[field.name] for field in fields if field.name in encoding.features}
    return replace(encoding, fields=tuple(fields), features=features)


class Modalities:
    """Each modality as one vector field: its blocks of content side by side; missing where all of them are."""

    def __init__(self, problem: Problem) -> None:
        warm = problem.encoding.rows(problem.warm)
        self._layers = {}
        for group in dict.fromkeys(modality(field.name) for field in problem.encoding.fields):
            layer = ContentVector([field for field in problem.encoding.fields if modality(field.name) == group])
            layer.adapt({field.name: warm[field.name] for field in layer.fields})
            self._layers[group] = layer
        self._last: tuple[Encoding, Encoding] | None = None

    def __call__(self, encoding: Encoding) -> Encoding:
        """Returns the encoding; that of the last call is kept, since every round of training asks for it."""
        if self._last is None or self._last[0] is not encoding:
            self._last = encoding, self._of(encoding)
        return self._last[1]

    def _of(self, encoding: Encoding) -> Encoding:
        fields, features = [], {}
        for group, layer in self._layers.items():
            tensors = {field.name: ops.convert_to_tensor(encoding.features[field.name]) for field in layer.fields}
            rows = ops.convert_to_numpy(layer(tensors))
            missing = ~rows.any(axis=1, keepdims=True)
            name = f"{group}_content"
            # Unit blocks of many elements are small beside the z-scores that the encoder of a vector expects.
            features[name] = np.where(missing, np.nan, rows * np.sqrt(layer.dim)).astype(np.float32)
            fields.append(bcl_keras.Field(name, "vector", layer.dim))
        return replace(encoding, fields=tuple(fields), features=features)

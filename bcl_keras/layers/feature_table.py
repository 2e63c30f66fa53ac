"""Hold the features of all songs on the device, so that training streams carry row numbers only."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.checks import check_features
from bcl_keras.fields import Array, Field, as_fields, first_known

Tensor = Any

logger = logging.getLogger(__name__)


@keras.saving.register_keras_serializable(package="bcl_keras")
class FeatureTable(keras.layers.Layer):
    """Look up the features of songs by row.

    The columns are non-trainable variables that saved files leave out unless `save_table`: they are data, may be
    large, and a model that embeds new songs does not need them. Multi-valued fields are padded to their longest row,
    cut at the field's `max_values`.

    Args:
        fields: The fields, `Field` objects or their dicts.
        save_table: Whether saved files hold the table. Defaults to `False`.

    Call arguments:
        rows: `(n,)` integers.

    Returns:
        Dict of field name to values, shaped as each field's kind says.

    Examples:
        >>> from bcl_keras import Field
        >>> table = FeatureTable([Field("tempo", "number")])
        >>> table.set_features({"tempo": [0.25, 0.5, 1.0]})
        >>> ops.convert_to_numpy(table(ops.convert_to_tensor([0, 2]))["tempo"]).tolist()
        [0.25, 1.0]
    """

    def __init__(
        self,
        fields: Sequence[Field | Mapping[str, Any]],
        save_table: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.fields = as_fields(fields)
        self.save_table = save_table
        self.columns: dict[str, Any] = {}
        self.num_rows = 0

    def build(self, input_shape: Any = None) -> None:
        """Create nothing: `set_features` brings the columns."""

    def set_features(self, features: Mapping[str, Any], at_least: int = 1) -> None:
        """Put features on the device, in place of those set before.

        Args:
            features: Field name to array of all songs, one row per song.
            at_least: Number of songs that there must be. Defaults to 1.

        Raises:
            ValueError: If a field is absent, unknown, breaks its contract, or has another number of rows, or there
                are too few of them.
        """
        checked = check_features(self.fields, features)
        arrays = {field.name: self._fit(field, checked[field.name]) for field in self.fields}
        rows = len(next(iter(arrays.values())))
        if rows < at_least:
            raise ValueError(f"Argument `features` must hold at least {at_least} warm songs. Received: {rows}")
        self._store(arrays)

    def _fit(self, field: Field, array: Array) -> Array:
        """Drop padding beyond the longest row, and values beyond the cap."""
        if not (field.is_categorical and field.is_list):
            return array
        if cut := int(((array > 0).sum(axis=1) > field.max_values).sum()):
            logger.warning("Field `%s`: %d songs cut to %d values (`max_values`).", field.name, cut, field.max_values)
        return first_known(field, array)

    def _store(self, arrays: Mapping[str, Array]) -> None:
        self.num_rows = len(next(iter(arrays.values())))
        for name, array in arrays.items():
            column = self.columns.get(name)
            if column is not None and tuple(column.shape) == array.shape:
                column.assign(array)
                continue
            if column is not None:
                self._untrack_variable(column)
            # The columns come after Keras has closed the layer's list of variables.
            self._tracker.unlock()
            self.columns[name] = self.add_weight(
                shape=array.shape,
                dtype=str(array.dtype),
                initializer="zeros",
                trainable=False,
                autocast=False,
                name=name,
            )
            self._tracker.lock()
            self.columns[name].assign(array)

    def call(self, rows: Tensor) -> dict[str, Tensor]:
        """Gather the features of the rows."""
        if not self.num_rows:
            raise ValueError(
                "The feature table must be filled by `set_catalogue` before rows are looked up. Received: no rows"
            )
        return {field.name: ops.take(self.columns[field.name], rows, axis=0) for field in self.fields}

    def save_own_variables(self, store: Any) -> None:
        """Write the columns if `save_table`."""
        if self.save_table:
            for name, column in self.columns.items():
                store[name] = np.asarray(ops.convert_to_numpy(column))

    def load_own_variables(self, store: Any) -> None:
        """Read the columns if the file holds them."""
        known = set(store.keys())
        names = [field.name for field in self.fields if field.name in known]
        if names:
            self._store({name: np.asarray(store[name]) for name in names})

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[Any, ...]]:
        """Return the shape of each field's values."""
        return {name: (input_shape[0], *column.shape[1:]) for name, column in self.columns.items()}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        fields = [field.to_dict() for field in self.fields]
        own = {"fields": fields, "save_table": self.save_table}
        return {**super().get_config(), **own}

"""Whether today's data may be trained on: its statistics against those of the run that was pushed last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList
_Kind: TypeAlias = anomalies_pb2.AnomalyInfo

_NEW_COLUMN = _Kind.SCHEMA_NEW_COLUMN
_LABELS_OF_DRIFT = (_Kind.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH, _Kind.COMPARATOR_L_INFTY_HIGH)


@dataclass(frozen=True)
class DataGateConfig:
    """What a run may differ by from the last one that was pushed.

    Args:
        max_drift: Largest Jensen-Shannon divergence (base 2, in [0, 1]) of a field's values.
        min_presence: A field must be present in at least this share of the share of songs it was present in.
        ignore: Columns that are not compared: ids are new every day.
    """

    max_drift: float = 0.2
    min_presence: float = 0.5
    ignore: tuple[str, ...] = ("song_id", "user_id", "timestamp", "title")

    def __post_init__(self) -> None:
        object.__setattr__(self, "ignore", tuple(self.ignore))
        for name in ("max_drift", "min_presence"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"DataGateConfig.{name}: expected a number in [0, 1]. Received: {getattr(self, name)}")


class DataGateError(ValueError):
    """The data differs too much from what the served model was trained on."""


@dataclass(frozen=True)
class Finding:
    """One difference.

    Attributes:
        column: The column.
        what: What differs, in words.
        stops: Whether the run must stop.
    """

    column: str
    what: str
    stops: bool


def compare(today: Statistics, last: Statistics, config: DataGateConfig) -> list[Finding]:
    """Returns how `today` differs from `last`: columns that are gone, new, of another type or otherwise distributed.

    A new column is worth knowing and stops nothing.

    Args:
        today: Statistics of one table.
        last: Statistics of the same table at the last pushed run.
        config: What may differ.
    """
    schema = tfdv.infer_schema(last, infer_feature_shape=False)
    _loosen(schema, last, config)
    found = tfdv.validate_statistics(today, schema, previous_statistics=last)
    findings = [
        Finding(name, info.description, any(reason.type != _NEW_COLUMN for reason in info.reason))
        for name, info in sorted(found.anomaly_info.items())
        if name not in config.ignore
    ]
    return findings + _drift_measured(found, findings)


def _loosen(schema: schema_pb2.Schema, last: Statistics, config: DataGateConfig) -> None:
    """Leaves of the inferred schema what must hold: type and presence; adds the bound on drift."""
    rows = last.datasets[0].num_examples
    present = {
        feature.name or feature.path.step[0]: _common(feature).num_non_missing for feature in last.datasets[0].features
    }
    del schema.string_domain[:]
    for feature in list(schema.feature):
        for unwanted in ("domain", "int_domain", "float_domain", "string_domain", "value_count", "shape"):
            if unwanted in {field.name for field in feature.DESCRIPTOR.fields} and feature.HasField(unwanted):
                feature.ClearField(unwanted)
        if feature.name in config.ignore:
            feature.presence.Clear()
            continue
        feature.presence.min_count = 0
        feature.presence.min_fraction = config.min_presence * present[feature.name] / max(rows, 1)
        feature.drift_comparator.jensen_shannon_divergence.threshold = config.max_drift


def _common(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _drift_measured(found: anomalies_pb2.Anomalies, findings: list[Finding]) -> list[Finding]:
    """Drift that stayed below the bound, for the report."""
    named = {finding.column for finding in findings}
    return [
        Finding(info.path.step[0], f"drift {measurement.value:.3f} of at most {measurement.threshold:.3f}", False)
        for info in found.drift_skew_info
        for measurement in info.drift_measurements
        if info.path.step[0] not in named
    ]


def report(findings: dict[str, list[Finding]]) -> str:
    """Returns the findings as lines of text, those that stop the run first.

    Args:
        findings: By name of table.
    """
    lines = []
    for stops, head in ((True, "stops the run"), (False, "noted")):
        for table, of_table in findings.items():
            lines += [f"{head}: {table}, column `{f.column}`: {f.what}" for f in of_table if f.stops == stops]
    return "\n".join(lines) if lines else "no difference"

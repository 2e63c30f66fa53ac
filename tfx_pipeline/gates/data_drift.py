"""Compares today's data with the data of the last pushed run, by their statistics."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeAlias

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from tfx_pipeline.contract.ids import SONG_ID, USER_ID

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList
_Kind: TypeAlias = anomalies_pb2.AnomalyInfo

_NEW_COLUMN = _Kind.SCHEMA_NEW_COLUMN
#: Words compared one by one. TFDV keeps the 1,000 most frequent, so the 500 of last time are among today's if they are
#: about as frequent; all others count as one word.
_WORDS = 500
_OTHERS = "(any other)"


@dataclass(frozen=True)
class DataGateConfig:
    """How much the data of a run may differ from that of the last pushed run.

    Args:
        max_drift: Largest Jensen-Shannon divergence (base 2, in [0, 1]) between the values of a field last time and
            today. Of words, the 500 most frequent ones of last time are compared one by one, all others as one.
        min_presence: Least share of songs with the field, as a fraction of that share last time.
        ignore: Columns that are not compared: ids are new every day.
    """

    max_drift: float = 0.2
    min_presence: float = 0.5
    ignore: tuple[str, ...] = (SONG_ID, USER_ID, "timestamp", "title")

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
    """Returns the differences of `today` from `last`: columns that are gone, new, of another type or distribution.

    Another number of values in a row counts as another type: a vector of another length, or several categories in place
    of one. A new column is reported and does not stop the run.

    Args:
        today: Statistics of one table.
        last: Statistics of the same table at the last pushed run.
        config: What may differ.
    """
    schema = tfdv.infer_schema(last, infer_feature_shape=False)
    _loosen(schema, last, config)
    words = {name: _frequent(feature) for name, feature in _features(last).items()}
    found = tfdv.validate_statistics(_coarse(today, words), schema, previous_statistics=_coarse(last, words))
    findings = [
        Finding(name, info.description, any(reason.type != _NEW_COLUMN for reason in info.reason))
        for name, info in sorted(found.anomaly_info.items())
        if name not in config.ignore
    ]
    return findings + _other_lengths(today, last, config) + _drift_measured(found, findings)


def _loosen(schema: schema_pb2.Schema, last: Statistics, config: DataGateConfig) -> None:
    """Reduces the inferred schema to type and presence, and adds the bound on drift."""
    rows = last.datasets[0].num_examples
    present = {name: _common(feature).num_non_missing for name, feature in _features(last).items()}
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


def _features(statistics: Statistics) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    return {feature.name or feature.path.step[0]: feature for feature in statistics.datasets[0].features}


def _frequent(feature: statistics_pb2.FeatureNameStatistics) -> set[str]:
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label for bucket in sorted(buckets, key=lambda b: (-b.sample_count, b.label))[:_WORDS]}


def _coarse(statistics: Statistics, words: dict[str, set[str]]) -> Statistics:
    """Returns statistics whose histograms hold the given words and one for all others.

    TFDV compares only what its histograms hold. Two samples of the same distribution would look far apart in a column
    with more distinct words than a histogram holds.
    """
    result = copy.deepcopy(statistics)
    for name, feature in _features(result).items():
        if feature.WhichOneof("stats") != "string_stats" or not words.get(name):
            continue
        kept = [b for b in feature.string_stats.rank_histogram.buckets if b.label in words[name]]
        others = _common(feature).tot_num_values - sum(bucket.sample_count for bucket in kept)
        histogram = statistics_pb2.RankHistogram(buckets=kept)
        if others > 0:
            histogram.buckets.add(label=_OTHERS, sample_count=others)
        feature.string_stats.rank_histogram.CopyFrom(histogram)
    return result


def _other_lengths(today: Statistics, last: Statistics, config: DataGateConfig) -> list[Finding]:
    """Returns the columns that always held the same number of values in a row, and now hold another."""
    found, now = [], _features(today)
    for name, feature in sorted(_features(last).items()):
        if name in config.ignore or name not in now:
            continue
        before, after = (_common(which) for which in (feature, now[name]))
        fixed = before.min_num_values == before.max_num_values > 0
        if (
            fixed
            and after.num_non_missing
            and (after.min_num_values, after.max_num_values) != 2 * (before.max_num_values,)
        ):
            received = f"{after.min_num_values} to {after.max_num_values}"
            found.append(Finding(name, f"expected {before.max_num_values} values a row. Received: {received}", True))
    return found


def _common(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _drift_measured(found: anomalies_pb2.Anomalies, findings: list[Finding]) -> list[Finding]:
    """Returns the drift below the bound, for the report."""
    named = {finding.column for finding in findings}
    return [
        Finding(info.path.step[0], f"drift {measurement.value:.3f} of at most {measurement.threshold:.3f}", False)
        for info in found.drift_skew_info
        for measurement in info.drift_measurements
        if info.path.step[0] not in named
    ]


def report(findings: dict[str, list[Finding] | None]) -> str:
    """Returns the findings as lines of text, those that stop the run first.

    Args:
        findings: By name of table; None if there was nothing to compare with.
    """
    lines = [f"not compared: {table}, no statistics of a pushed run" for table, f in findings.items() if f is None]
    for stops, head in ((True, "stops the run"), (False, "noted")):
        for table, of_table in findings.items():
            lines += [f"{head}: {table}, column `{f.column}`: {f.what}" for f in of_table or [] if f.stops == stops]
    return "\n".join(lines) if lines else "no difference"

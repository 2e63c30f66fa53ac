"""Times as text and as numbers, against Python's datetime."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.contract import ContractError
from tfx_pipeline.contract.columns import Place
from tfx_pipeline.contract.times import EpochUnit, TimeReader, epoch_times, parse_times

PLACE = Place("plays.csv", "timestamp", 10)
UTC = datetime.timezone.utc
NOON = datetime.datetime(2024, 5, 31, 12, tzinfo=UTC)


def micros(time):
    return (time - datetime.datetime(1970, 1, 1, tzinfo=UTC)) // datetime.timedelta(microseconds=1)


def unit_of(numbers):
    unit = EpochUnit()
    unit.add(numbers, np.arange(len(numbers)), PLACE)
    return unit.unit


def read(*cells):
    return TimeReader().read(pa.array(cells, pa.string()), PLACE).cast(pa.int64()).to_pylist()


@pytest.mark.parametrize("between", ["T", " "])
@pytest.mark.parametrize("fraction", ["", ".5", ".000", ".123456789", ",25"])
@pytest.mark.parametrize("zone", ["", "Z", " UTC", "+00:00", "+0530", "-05", " +02:00", "GMT"])
def test_iso_8601(between, fraction, zone):
    digits = float(f"0.{fraction[1:] or 0}")
    hours = {"+0530": 5.5, "-05": -5, " +02:00": 2}.get(zone, 0)
    expected = micros(NOON - datetime.timedelta(hours=hours)) + int(digits * 10**6)
    assert read(f"2024-05-31{between}12:00:00{fraction}{zone}") == [expected]


@pytest.mark.parametrize("form", ["string", "large_string", "dictionary"])
def test_any_text_type_dates_minutes_and_missing_ones(form):
    cells = pa.array([None, "2024-05-31", "", "2024-05-31 12:00", "0999-12-31T23:59:60Z", "1969-12-31T23:59:59.5"])
    found = parse_times(cells.dictionary_encode() if form == "dictionary" else cells.cast(form), PLACE)
    assert found.type == pa.timestamp("us", "UTC")
    midnight = micros(NOON) - 12 * 3600 * 10**6
    old = micros(datetime.datetime(1000, 1, 1, tzinfo=UTC))
    assert found.cast(pa.int64()).to_pylist() == [None, midnight, None, micros(NOON), old, -500_000]


OTHER = """noon,2024-02-30,2024-13-01,2024-01-01T24:00,2024-01-01T12:60,2024-01-01 12:00 CET,31.05.2024,20240531T12,
2024-01-01T12:00+25:00,2024-01-01Z,12:00:00,1e30,99999999999999999999"""


@pytest.mark.parametrize("cell", OTHER.replace("\n", "").split(","))
def test_other_text_is_refused(cell):
    with pytest.raises(ContractError) as error:
        read("2024-05-31", None, cell)
    for word in ("plays.csv: column `timestamp`, row 12", "expected a time", repr(cell)):
        assert word in str(error.value)


@pytest.mark.parametrize("years", [1974, 2005, 2024, 2500])
@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_the_unit_of_numbers_is_read_off_their_size(years, unit, per_second):
    years = min(years, 2262 - 1) if unit == "ns" else years  # There int64 ends.
    seconds = micros(datetime.datetime(years, 2, 3, 4, 5, 6, tzinfo=UTC)) // 10**6
    numbers = np.array([seconds * per_second, 0])
    assert unit_of(numbers) == unit_of(numbers.astype(np.float64)) == unit
    assert epoch_times(numbers, unit).tolist() == [seconds * 10**6, 0]
    assert read(str(seconds * per_second), None, "0") == [seconds * 10**6, None, 0]


def test_numbers_with_a_fraction_and_before_1970():
    assert read("1717156800.25", "-1.5", "1.7171568E9") == [1_717_156_800_250_000, -1_500_000, 1_717_156_800_000_000]
    assert read("-1717156800001") == [-1_717_156_800_001_000]
    assert epoch_times(np.array([-1]), "ns").tolist() == [-1]
    assert unit_of(np.array([], np.int64)) is None
    assert unit_of(np.array([np.iinfo(np.int64).min])) == "ns"


def test_mixed_units_are_refused_in_one_batch_and_over_batches():
    for batches in ([[0, 1_717_156_800, 1_717_156_800_000]], [[1_717_156_800], [0, 1_717_156_800_000]]):
        unit, first = EpochUnit(), 0
        *earlier, last = batches
        for batch in earlier:
            unit.add(np.array(batch), np.arange(len(batch)), Place("plays.csv", "timestamp", first))
            first += len(batch)
        with pytest.raises(ContractError) as error:
            unit.add(np.array(last), np.arange(len(last)), Place("plays.csv", "timestamp", first))
        assert "row 2 (counted from 0): expected seconds since 1970, as in the rows before" in str(error.value)
        assert "counts milliseconds" in str(error.value)


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (
            ["1717156800000", None],
            "milliseconds since 1970 (by the size of the numbers), from 2024-05-31 to 2024-05-31",
        ),
        (["2024-05-31 UTC"], None),
        (["2024-05-31 12:00 UTC", "1970-01-01T00:00+01:00"], "ISO 8601, from 1969-12-31 to 2024-05-31"),
        (["2024-05-31", "2024-05-31T12:00:00"], "2 without a zone are read as UTC"),
        (["0", "2024-05-31"], "seconds since 1970 (by the size of the numbers) and ISO 8601"),
    ],
)
def test_a_note_says_what_was_understood(cells, note):
    reader = TimeReader()
    if note is None:  # A date has no zone.
        with pytest.raises(ContractError, match="expected a time"):
            reader.read(pa.array(cells), PLACE)
        return
    reader.read(pa.array(cells), PLACE)
    assert note in reader.notes()[0]
    assert TimeReader().notes() == ()

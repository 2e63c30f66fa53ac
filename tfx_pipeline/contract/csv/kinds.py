r"""Decides the kind of field that a column of a CSV file is, by rules over all its cells and nothing else.

A cell is missing if it is blank or `\N`. In a column of numbers, vectors or bracketed lists so are `NA`, `N/A`,
`#N/A`, `null`, `None`, `NaN` (in any case) and `-`. Among words they stay words, because they may be some (NA is
Namibia), and a note says so. Of the cells that are not missing,
- all numbers: a number. `007` is not a number: a leading zero makes an id, so that column is a category. Decimal commas
  are read where they can be nothing else. `1,234` alone might mean thousands, and is refused.
- all lists in brackets (`lists`): a dense vector if every element is a number and one has a decimal point or an
  exponent, otherwise a multi-valued category.
- one holds `|`: the same for its parts: `0.1|2` or `rock|indie`; a single value may be written `rock|`.
- anything else: a category.
A column is refused if less than 1 % of its cells are words and all others are numbers, vectors or lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.csv.lists import without_numpy_names
from tfx_pipeline.contract.errors import ContractError, broken
from tfx_pipeline.contract.kinds import ARROW_KINDS, FieldKind, kind_of_style
from tfx_pipeline.contract.stores.location import Location

#: How the cells of a column are written. Each kind lists its own in `tfx_pipeline.contract.kinds`.
Style = Literal[
    "empty",
    "word",
    "words_by_pipe",
    "words_in_brackets",
    "ids_in_brackets",
    "number",
    "number_with_comma",
    "numbers_by_pipe",
    "numbers_in_brackets",
]

#: Words that mean a missing value where the column's other cells are numbers or lists.
MISSING = r"(?i)^(?:#?N/A|NA|null|none|nan|\\N|-)$"
#: The one marker that is never a word.
NEVER_A_WORD = r"\N"
NUMBER = r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NOT_FINITE = r"[+-]?(?i:inf|infinity)"
_PART = f"(?:{NUMBER}|{_NOT_FINITE})"
_HOLED_PART = f"(?:{_PART}|(?i:null|none|nan|na))"
_DECIMAL = r"[+-]?(?:0|[1-9][0-9]*)?,[0-9]+(?:[eE][+-]?[0-9]+)?"
_COMMA_PART = f"(?:{_PART}|{_DECIMAL})"
#: Stands between thousands: a point, an apostrophe, a blank of some width.
_GAP = r"[.'\x{2019} \x{a0}\x{202f}]"
_RARE = 0.01
#: Each cell is of the first form that it matches; what matches none is a word.
_FORMS = {
    "number": f"^{_PART}$",
    "list": r"(?s)^\[.*\]$",
    "number_pipe": rf"^(?:{_HOLED_PART}\s*\|\s*)+(?:{_HOLED_PART})?$",
    "comma_pipe": rf"^(?:{_COMMA_PART}\s*\|\s*)+(?:{_COMMA_PART})?$",
    "pipe": r"\|",
    "group": r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$",
    "decimal": f"^{_DECIMAL}$",
    "thousands": f"^[+-]?[1-9][0-9]{{0,2}}(?:(?:,[0-9]{{3}})+(?:\\.[0-9]*)?|(?:{_GAP}[0-9]{{3}})+(?:[.,][0-9]*)?)$",
    "id": "^[+-]?0[0-9]+$",
}
_NUMBER_LIST = rf"^\[[\s,]*(?:{_HOLED_PART}(?:[\s,]+{_HOLED_PART})*)?[\s,]*\]$"
_LEFT_OUT = r"^\[[^'\"]*\.\.\.[^'\"]*\]$"
_FRACTION = r"[0-9.][.eE]|\.[0-9]"


@dataclass
class _Form:
    """The cells of one form: how many there are, and the first."""

    count: int = 0
    row: int = -1
    text: str = ""

    def add(self, cells: pa.Array, rows: npt.NDArray[Any]) -> None:
        if len(cells) and not self.count:
            self.row, self.text = int(rows[0]), cells[0].as_py()
        self.count += len(cells)


@dataclass(frozen=True)
class Column:
    """How to read a column.

    Attributes:
        style: How its cells are written, which says its kind.
        note: What was guessed, in words.
    """

    style: Style
    note: str

    @property
    def kind(self) -> FieldKind:
        """The kind of field."""
        return kind_of_style(self.style)

    @property
    def type(self) -> pa.DataType:
        """The Arrow type of the column once it is read."""
        return ARROW_KINDS[self.kind].csv_type


@dataclass
class Guess:
    """Collects what the cells of one column have in common, batch by batch."""

    path: Location
    name: str
    rows: int = 0
    blank: int = 0
    forms: dict[str, _Form] = field(default_factory=dict)
    fraction: dict[str, bool] = field(default_factory=dict)

    def add(self, cells: pa.Array, first_row: int) -> None:
        """Takes a batch of trimmed cells into account, null where blank."""
        self.rows += len(cells)
        self.blank += cells.null_count
        rows = first_row + np.flatnonzero(np.asarray(cells.is_valid()))
        cells = cells.drop_null()
        never = np.asarray(pc.equal(cells, NEVER_A_WORD))
        self.blank += int(never.sum())
        cells, rows = cells.filter(pa.array(~never)), rows[~never]
        for form, pattern in {"missing": MISSING, **_FORMS, "word": ""}.items():
            if not len(cells):
                return
            mask = np.asarray(pc.match_substring_regex(cells, pattern)) if pattern else np.ones(len(cells), bool)
            found = cells.filter(pa.array(mask))
            self._form(form).add(found, rows[mask])
            if form in ("number", "number_pipe", "list"):
                found = without_numpy_names(found)
                self.fraction[form] = self.fraction.get(form, False) or _any(found, _FRACTION)
            if form == "list":
                self._add_lists(found, rows[mask])
            cells, rows = cells.filter(pa.array(~mask)), rows[~mask]

    def _add_lists(self, cells: pa.Array, rows: npt.NDArray[Any]) -> None:
        numbers = np.asarray(pc.match_substring_regex(cells, _NUMBER_LIST))
        left_out = np.asarray(pc.match_substring_regex(cells, _LEFT_OUT))
        for form, mask in (("number_list", numbers), ("word_list", ~numbers), ("left_out", left_out)):
            self._form(form).add(cells.filter(pa.array(mask)), rows[mask])

    def _form(self, name: str) -> _Form:
        return self.forms.setdefault(name, _Form())

    def _count(self, *names: str) -> int:
        return sum(self._form(name).count for name in names)

    def column(self) -> Column:
        """Returns how to read the column.

        Raises:
            ContractError: All but a few cells are of one kind, or its numbers can be read in two ways.
        """
        present = self._count(*_FORMS, "word")
        numbers = self._count("number", "decimal", "group", "thousands")
        vectors = self._count("number", "number_pipe")
        self._refuse_rare(present, self._count("list"), "lists in brackets", "list")
        if self._count("list") and self._count("list") == present:
            return self._lists()
        if not self._count("id"):
            self._refuse_rare(present, numbers, "numbers", "number", "decimal", "group", "thousands")
        if numbers and numbers == present:
            return self._numbers()
        if self._count("number_pipe") and self.fraction.get("number_pipe"):
            self._refuse_rare(present, vectors, "vectors of numbers", "number", "number_pipe")
        if self._count("comma_pipe") and self._count("comma_pipe", "number_pipe", "number", "decimal") == present:
            raise self._refusal("comma_pipe", "decimal points in a vector", "Write 0.5|1.5 in place of 0,5|1,5.")
        if self._count("number_pipe") and vectors == present and any(map(self.fraction.get, ("number", "number_pipe"))):
            return self._guessed("numbers_by_pipe", self._count("missing"))
        if self._count("pipe", "number_pipe", "comma_pipe"):
            return self._words("words_by_pipe", present)
        return self._words("word", present)

    def _lists(self) -> Column:
        if self._count("left_out"):
            remedy = "Write every element: numpy prints ... in place of the middle ones."
            raise self._refusal("left_out", "lists with all their elements", remedy)
        if not self.fraction["list"]:
            style: Style = "words_in_brackets" if self._count("word_list") else "ids_in_brackets"
            return self._guessed(style, self._count("missing"))
        lists = self._count("list")
        self._refuse_rare(lists, self._count("number_list"), "lists of numbers", "list", "number_list")
        style = "words_in_brackets" if self._count("word_list") else "numbers_in_brackets"
        return self._guessed(style, self._count("missing"))

    def _numbers(self) -> Column:
        missing = self._count("missing")
        remedy = "Write numbers with a decimal point and without separators of thousands."
        if self._count("thousands"):
            raise self._refusal("thousands", "numbers", remedy)
        if self._count("decimal", "group") and self.fraction.get("number"):
            form = min(("decimal", "group"), key=lambda name: (self._form(name).count == 0, self._form(name).row))
            raise self._refusal(form, "decimal points, as in other rows, not a comma", remedy)
        if self._count("decimal"):
            return self._guessed("number_with_comma", missing, "number with decimal commas")
        if self._count("group"):
            received = "which may be thousands or a decimal comma"
            raise self._refusal("group", "numbers that can be read in one way", remedy, received)
        return self._guessed("number", missing)

    def _words(self, style: Style, present: int) -> Column:
        """Returns a column of words. A marker of a missing value counts as a word beside others."""
        missing = self._form("missing")
        if not present:
            return self._guessed("empty", missing.count)
        more = ""
        numbers, other = self._count("number", "decimal", "group"), self._first_other("number", "decimal", "group")
        if numbers > present / 2:
            more += f"; {numbers / present:.0%} of its cells are numbers, {other.text!r} in row {other.row} is not"
        if style == "words_by_pipe":
            more += f"; {self._count('pipe', 'number_pipe', 'comma_pipe')} cells hold |"
        if missing.count:
            more += f"; {missing.text!r} in {missing.count} cells is kept as a word: leave cells empty where missing"
        return self._guessed(style, 0, more=more)

    def _guessed(self, style: Style, missing: int, shown: str = "", more: str = "") -> Column:
        missing += self.blank
        shown = shown or kind_of_style(style)
        return Column(style, f"{self.name}: {shown} (guessed from CSV), {missing:,} of {self.rows:,} missing{more}")

    def _first_other(self, *forms: str) -> _Form:
        others = [self._form(name) for name in (*_FORMS, "word") if name not in forms and self._form(name).count]
        return min(others, key=lambda form: form.row, default=_Form())

    def _refuse_rare(self, present: int, fitting: int, what: str, *forms: str) -> None:
        """Raises ContractError if less than 1 % of the cells are of another kind than the rest."""
        others = present - fitting
        if not 0 < others < _RARE * present:
            return
        other = self._form("word_list") if "number_list" in forms else self._first_other(*forms)
        cells = "1 cell is" if others == 1 else f"{others:,} cells are"
        expected = f"{what}, as in the other {fitting:,} cells ({cells} not)"
        remedy = "Leave a cell empty where its value is missing. For a category, give the column as strings in Parquet."
        raise broken(self.path, expected, repr(other.text), column=self.name, row=other.row, remedy=remedy)

    def _refusal(self, form: str, expected: str, remedy: str, received: str = "") -> ContractError:
        first = self._form(form)
        shown = f"{first.text!r}{', ' + received if received else ''}"
        return broken(self.path, expected, shown, column=self.name, row=first.row, remedy=remedy)


def _any(cells: pa.Array, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(cells, pattern)).as_py())

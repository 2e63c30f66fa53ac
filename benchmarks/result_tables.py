"""Kept results as Markdown tables: every kind of column has one form of its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_SMALL_P = 0.1


def markdown(result: dict[str, Any], view: str | None = None) -> list[str]:
    """Returns the lines of a table.

    Args:
        result: `columns`, the kind of each by its title; `rows`, lists of values in that order, None where there is
            none; and `views`, titles of rows by name of view.
        view: Whose rows are shown; None for all.

    Raises:
        ValueError: If the result lacks the view or one of its rows, or a row has another number of values.
    """
    columns, rows = result["columns"], result["rows"]
    if wrong := [row[0] for row in rows if len(row) != len(columns)]:
        raise ValueError(f"rows: expected {len(columns)} values each. Received: other numbers in {wrong}")
    if view is not None:
        rows = _rows_of(result, view)
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    above: list[Any] = [None] * len(columns)
    for row in rows:
        cells = [_cell(kind, value, before) for kind, value, before in zip(columns.values(), row, above, strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
        above = row
    return lines


def _rows_of(result: dict[str, Any], view: str) -> list[list[Any]]:
    by_title = {row[0]: row for row in result["rows"]}
    titles = result.get("views", {}).get(view)
    if titles is None or (missing := [title for title in titles if title not in by_title]):
        raise ValueError(
            f"view {view!r}: expected rows of the table. Received: {missing if titles else 'no such view'}"
        )
    return [by_title[title] for title in titles]


def _cell(kind: str, value: Any, above: Any) -> str:
    if value is None or (kind == "once" and value == above):
        return ""
    return KINDS[kind](value)


def share(value: float) -> str:
    """Returns .452 of a share; a longer number if it is 1 or more."""
    return f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:g}"


def _interval(values: Sequence[float]) -> str:
    return f"{share(values[0])} [{share(values[1])}, {share(values[2])}]"


def _two_digits(values: Sequence[float]) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*values)


def _difference(values: Sequence[float], digits: int = 1) -> str:
    """A relative difference in percent: alone, or with its interval; then p, if it is known."""
    percent = [f"{100 * value:.{digits}f}" for value in values]
    percent[0] = f"{100 * values[0]:+.{digits}f} %"
    return percent[0] if len(percent) == 1 else f"{percent[0]} [{percent[1]}, {percent[2]}]"


def _difference_and_p(values: Sequence[float]) -> str:
    *difference, p = values
    return f"{_difference(difference)}, p {p:.2g}"


def _p(value: float) -> str:
    return f"{value:.1g}" if value < _SMALL_P else f"{value:.2f}".removeprefix("0")


#: How the values of a column are written, by its kind. `once` leaves out what the row above has, too.
KINDS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "once": str,
    "count": "{:,}".format,
    "ratio": "{:.2f}".format,
    "share": share,
    "shares": lambda values: ", ".join(map(share, values)),
    "numbers": lambda values: ", ".join(f"{value:g}".removeprefix("0") if value else "0" for value in values),
    "interval": _interval,
    "two digits": _two_digits,
    "difference": _difference,
    "whole percent": lambda values: _difference(values, 0),
    "difference and p": _difference_and_p,
    "p": _p,
}

"""The one error of the input contract and the one form of its messages."""

from __future__ import annotations

from pathlib import Path

from tfx_pipeline.contract.text import on_one_line


class ContractError(ValueError):
    """The input breaks the contract. The message names file, column, row, what was expected and what was received."""


def broken(
    file: Path | str,
    expected: str,
    received: object,
    *,
    column: str | None = None,
    row: int | None = None,
    remedy: str = "",
) -> ContractError:
    """Return a `ContractError` in the form `file: column, row: expected X. Received: Y. Remedy.`

    Args:
        file: the file the user wrote (the CSV, not its converted copy).
        expected: what the contract asks, to be read after the word "expected".
        received: what was found instead.
        column: the column's name; None where the file as a whole is meant.
        row: the row, counted from 0 after any header; None where no single row is meant.
        remedy: one more sentence that says what to do; empty by default.
    """
    places = [f"column `{column}`"] if column is not None else []
    places += [f"row {row} (counted from 0)"] if row is not None else []
    place = f"{', '.join(places)}: " if places else ""
    tail = f" {remedy}" if remedy else ""
    return ContractError(on_one_line(f"{file}: {place}expected {expected}. Received: {received}.{tail}", most=None))

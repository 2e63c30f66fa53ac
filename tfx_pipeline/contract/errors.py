"""The one error of the input contract and the one form of its messages."""

from __future__ import annotations

from tfx_pipeline.contract.text import on_one_line


class ContractError(ValueError):
    """The input breaks the contract. The message names file, column, row, what was expected and what was received."""


def broken(
    file: object,
    expected: str,
    received: object,
    *,
    column: str | None = None,
    row: int | None = None,
    remedy: str = "",
) -> ContractError:
    """Returns a `ContractError` with the message `file: column, row: expected X. Received: Y. Remedy`.

    Args:
        file: The file the user wrote (the CSV, not its converted copy).
        expected: What the contract asks, worded to follow "expected".
        received: What was found instead.
        column: The column's name; None where the file as a whole is meant.
        row: The row, counted from 0 after any header; None where no single row is meant.
        remedy: A sentence that says what to do. Defaults to none.
    """
    places = [f"column `{column}`"] if column is not None else []
    places += [f"row {row} (counted from 0)"] if row is not None else []
    place = f"{', '.join(places)}: " if places else ""
    tail = f" {remedy}" if remedy else ""
    return ContractError(on_one_line(f"{file}: {place}expected {expected}. Received: {received}.{tail}", most=None))

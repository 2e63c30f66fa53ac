"""The input of a run, checked and in the run's folder."""

from __future__ import annotations

from tfx_pipeline import contract
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.local_run.request import Request
from tfx_pipeline.removal.takedown import say_left_out, take_down
from tfx_pipeline.runtime.console import Console
from tfx_pipeline.runtime.run_folder import RunFolder


def check_input(request: Request, folder: RunFolder, console: Console) -> contract.Catalogue:
    """Checks the data, writes what the pipeline reads, takes songs down, and prints what the data holds.

    Raises:
        ContractError: If the data breaks the contract.
        ValueError: If the list of songs to take down, or the database of the runs, cannot be used.
    """
    RunRecords.of(folder).begin(folder)  # a database that cannot be used is found before any work
    catalogue = request.prepare(folder.input)
    missing, names = request.ignore_missing, request.columns().of("songs")
    left_out = take_down(folder.serving, folder.input, request.takedown, ignore_missing=missing, names=names)
    console.say(describe(catalogue))
    if left_out:
        console.say(say_left_out(left_out))
    return catalogue


def describe(catalogue: contract.Catalogue) -> str:
    """Returns lines about what the data holds."""
    names = ", ".join(field.name for field in catalogue.fields)
    notes = "".join(f"\n  note: {note}" for note in catalogue.notes)
    return (
        f"Catalogue: {catalogue.num_songs:,} songs, {catalogue.num_users:,} users, {catalogue.num_plays:,} plays\n"
        f"Fields: {names}{notes}"
    )

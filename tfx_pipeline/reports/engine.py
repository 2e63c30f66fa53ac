"""Which steps of a run a Beam engine runs, and which run where the pipeline was started."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfx_pipeline.runtime.beam_options import engine_in_words


@dataclass(frozen=True)
class Engine:
    """Where the steps of a run take place.

    Attributes:
        name: The engine and its address.
        there: Steps whose work the engine does.
        here: Steps that run in the process that started the run, whatever the engine is.
    """

    name: str
    there: tuple[str, ...]
    here: tuple[str, ...]


def engine_of(steps: Sequence[Any], options: Sequence[str]) -> Engine | None:
    """Returns where the steps take place; None if Beam runs in this process, too.

    Args:
        steps: Components of TFX.
        options: Beam's options.
    """
    # Imported here: a page is written without TFX.
    from tfx.dsl.components.base.base_beam_component import BaseBeamComponent

    name = engine_in_words(options)
    if not name:
        return None
    there = tuple(step.id for step in steps if isinstance(step, BaseBeamComponent))
    return Engine(name, there, tuple(step.id for step in steps if step.id not in there))


def where_it_ran(engine: Engine) -> str:
    """Returns the section of the run page as HTML."""
    lines = (
        (f"On {engine.name}", engine.there),
        ("In the process that started the run, not on the engine", engine.here),
    )
    return "".join(f"<p>{html.escape(where)}: {html.escape(', '.join(steps))}</p>" for where, steps in lines if steps)

"""How a command runs the targeting: what Beam would show of a failed worker becomes one message."""

from __future__ import annotations

import logging

import apache_beam as beam


def run_quietly(pipeline: beam.Pipeline) -> None:
    """Runs a pipeline to its end. Beam logs the whole stack of a failed worker; `first_message` says what is wrong."""
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    pipeline.run().wait_until_finish()


def first_message(error: BaseException) -> str:
    """Returns the message of an error without the stack and step name that a runner adds."""
    message = str(error).strip()
    lines = [line for line in message.splitlines() if line.strip()]
    said = [line for line in lines if "Received:" in line]
    text = (said or lines or [repr(error)])[-1].strip()
    return text.split(" [while running")[0].split("Error: ", 1)[-1]

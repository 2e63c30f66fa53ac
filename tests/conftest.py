"""What holds for all tests: their order, which of them `make check` leaves out, and how long they wait."""

from __future__ import annotations

import inspect
import os
from typing import Any

import hypothesis
import pytest

from serving.client import AsyncClient, Client
from tests.small_disk import small_disk
from tests.waiting import LAST_RESORT

__all__ = ["small_disk"]  # a fixture of all tests

LONGEST_FIRST = ("test_whole_path.py", "test_backends.py", "test_model.py", "test_notebooks.py")
#: What a test asks for, however indirectly, says what it costs; where it asks for none of these, it says so itself.
MARK_OF_FIXTURE = {
    "small_run": "pipeline",
    "run_world": "pipeline",
    "run": "pipeline",
    "notebook": "slow",
    "two_replicas": "slow",
}

# Examples are the same in every run, and none is given up because the machine is busy.
hypothesis.settings.register_profile(
    "bcl",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("bcl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they use. The files that take longest come first; the order within a file stays.

    Otherwise one worker would be left alone with such a file at the end.
    """
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARK_OF_FIXTURE:
                item.add_marker(MARK_OF_FIXTURE[fixture])
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session", autouse=True)
def patient_clients() -> None:
    """Lets the clients' default time limit be one that a busy machine does not reach."""
    assert inspect.signature(Client).parameters["timeout"].default == 10.0
    assert Client.__init__ is AsyncClient.__init__
    defaults = Client.__init__.__kwdefaults__
    assert defaults is not None
    defaults["timeout"] = LAST_RESORT


@pytest.fixture(scope="session")
def dcor() -> Any:
    """The dcor package, not compiled: compiling takes it longer than all that the tests ask of it.

    While it is imported, dcor compiles its functions for many pairs at once, also where Numba is told not to. It then
    fails unless an earlier import left the compiled code behind. No test uses those functions: they stay plain here.
    """
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    import numba

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba, "guvectorize", lambda *_args, **_kwargs: lambda function: function)
        import dcor

    return dcor

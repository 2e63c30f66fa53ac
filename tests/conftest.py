"""The files that take longest come first, so that no worker is left alone with one of them at the end."""

from __future__ import annotations

import pytest

from tests.small_disk import small_disk

__all__ = ["small_disk"]  # a fixture of all tests

LONGEST_FIRST = ("test_whole_path.py", "test_backends.py", "test_model.py", "test_notebooks.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; the order within a file stays."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))

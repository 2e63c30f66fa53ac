"""The examples in the docstrings run, and every public class has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import bcl_keras

MODULES = [found.name for found in pkgutil.walk_packages(bcl_keras.__path__, "bcl_keras.")]
ROOMS = [
    bcl_keras,
    *(getattr(bcl_keras, name) for name in bcl_keras.__all__ if inspect.ismodule(getattr(bcl_keras, name))),
]
PUBLIC = sorted(
    {
        member
        for room in ROOMS
        for name in getattr(room, "__all__", dir(room))
        if inspect.isclass(member := getattr(room, name)) and member.__module__.startswith("bcl_keras")
    },
    key=lambda member: member.__qualname__,
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert not failed


@pytest.mark.parametrize("public", PUBLIC, ids=lambda member: member.__qualname__)
def test_a_public_class_has_an_example(public: type) -> None:
    text = inspect.getdoc(public) or ""
    assert "Examples:\n" in text
    assert ">>> " in text


def test_the_public_classes_are_found() -> None:
    names = {member.__qualname__ for member in PUBLIC}
    assert {"BCLModel", "BCLConfig", "Field", "BPR", "RecallAtK", "PairStream", "SplitViews", "TrainingBoard"} <= names

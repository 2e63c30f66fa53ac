"""One exported model and one running server, shared by the tests that only send requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_model


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version folder with `scale` 1, to be published under any number."""
    return small_model.export(tmp_path_factory.mktemp("export") / "one", 1.0)


@pytest.fixture(scope="session")
def doubled_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with `scale` 2."""
    return small_model.export(tmp_path_factory.mktemp("export") / "two", 2.0)


@pytest.fixture(scope="module")
def base(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of model `bcl`, which has version 1."""
    base = tmp_path_factory.mktemp("models") / "bcl"
    small_model.publish(saved_model, base, 1)
    return base


@pytest.fixture(scope="session")
def server(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A server of model `bcl`, version 3."""
    from serving.server import EmbeddedServer

    base = tmp_path_factory.mktemp("served") / "bcl"
    small_model.publish(saved_model, base, 3)
    with EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base)) as running:
        yield running

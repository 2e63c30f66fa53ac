"""The Pusher with `push.keep_versions`: old versions go once another was pushed, and a push never fails for them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from tfx import v1 as tfx
from tfx.types import Channel, standard_artifacts
from tfx.types import standard_component_specs as specs

from tfx_pipeline.tfx_extensions import standard
from tfx_pipeline.tfx_extensions.push_config import PushConfig
from tfx_pipeline.tfx_extensions.pusher_executor import Executor


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "serving"
    for number in (5, 7, 1_600_000_000):
        (base / str(number)).mkdir(parents=True)
        (base / str(number) / "saved_model.pb").touch()
    return base


def push(base: Path, config: PushConfig | None, *, is_blessed: bool = True) -> list[int]:
    """Pushes a model as the component in the pipeline would; returns the versions that are left of those before."""
    made = standard.pusher(
        Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        infra_blessing=Channel(type=standard_artifacts.InfraBlessing),
        serving_dir=base,
        push=config,
    )
    kinds = tfx.types.standard_artifacts
    artifacts: list[Any] = [kinds.Model(), kinds.ModelBlessing(), kinds.PushedModel()]
    for artifact in artifacts:
        artifact.uri = str(base.parent / artifact.type_name)
    model = base.parent / "Model" / "Format-Serving"
    model.mkdir(parents=True)
    (model / "saved_model.pb").write_text("pushed")
    artifacts[1].set_int_custom_property("blessed", int(is_blessed))
    properties = {key: made.exec_properties[key] for key in (specs.PUSH_DESTINATION_KEY, specs.CUSTOM_CONFIG_KEY)}
    Executor().Do(
        {specs.MODEL_KEY: artifacts[:1], specs.MODEL_BLESSING_KEY: artifacts[1:2]},
        {specs.PUSHED_MODEL_KEY: artifacts[2:]},
        properties,
    )
    versions = sorted(int(name) for name in os.listdir(base) if name.isdigit())
    if not is_blessed:
        return versions
    assert (base / str(versions[-1]) / "saved_model.pb").read_text() == "pushed"
    return versions[:-1]


@pytest.mark.parametrize(
    ("config", "left"),
    [
        (None, [5, 7, 1_600_000_000]),
        (PushConfig(), [5, 7, 1_600_000_000]),
        (PushConfig(keep_versions=1), []),
        (PushConfig(keep_versions=3), [7, 1_600_000_000]),
    ],
)
def test_the_pushed_version_counts_and_stays(config: PushConfig | None, left: list[int], base: Path) -> None:
    assert push(base, config) == left


def test_a_model_that_is_not_pushed_removes_nothing(base: Path) -> None:
    assert push(base, PushConfig(keep_versions=1), is_blessed=False) == [5, 7, 1_600_000_000]


def test_versions_of_the_servers_configuration_stay(base: Path, tmp_path: Path) -> None:
    label = 'version_labels { key: "stable" value: 5 }'
    file = tmp_path / "models.config"
    file.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "/m" {label} model_platform: "tensorflow" }} }}'
    )
    assert push(base, PushConfig(keep_versions=1, model_config_file=str(file))) == [5]


def test_a_push_stands_where_old_versions_cannot_go(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert push(base, PushConfig(keep_versions=1, model_config_file="/missing")) == [5, 7, 1_600_000_000]
    assert "old versions stay in" in caplog.text and "/missing" in caplog.text


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="Argument `keep_versions` must be at least 1"):
        PushConfig(keep_versions=0)
    with pytest.raises(ValueError, match="expected `keep_versions` with it"):
        PushConfig(model_config_file="/m")


def test_each_push_goes_to_the_store_of_the_settings(base: Path, tmp_path: Path) -> None:
    store = tmp_path / "a store"
    push(base, PushConfig(keep_versions=2, store=store.as_uri()))
    copied = sorted(int(path.name) for path in (store / "serving").iterdir())
    assert copied == sorted(int(name) for name in os.listdir(base) if name.isdigit())
    assert (store / "serving" / str(copied[-1]) / "saved_model.pb").read_text() == "pushed"
    assert (store / "serving" / str(copied[-1]) / "_COMPLETE.json").is_file()


def test_a_model_without_a_blessing_goes_nowhere(base: Path, tmp_path: Path) -> None:
    push(base, PushConfig(store=(tmp_path / "store").as_uri()), is_blessed=False)
    assert not (tmp_path / "store").exists()

"""The pipeline runs Keras on TensorFlow, and names the choice of the user that it ignores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfx_pipeline.runtime.keras_backend import use_tensorflow

_VARIABLES = ("KERAS_BACKEND", "KERAS_HOME", "TF_USE_LEGACY_KERAS")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a keras.json; the variables are as they were afterwards."""
    for name in _VARIABLES:
        monkeypatch.setenv(name, "")  # so that monkeypatch restores it
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "keras.json").write_text(text)


@pytest.mark.parametrize(
    ("variables", "text", "shown"),
    [
        ({}, None, None),
        ({}, '{"backend": "tensorflow", "floatx": "float32"}', None),
        ({}, "{}", None),
        ({"KERAS_BACKEND": "tensorflow"}, '{"backend": "jax"}', None),
        ({"TF_USE_LEGACY_KERAS": "True"}, None, None),
        ({"KERAS_BACKEND": "jax"}, None, "KERAS_BACKEND=jax"),
        ({"KERAS_BACKEND": "no such"}, "{", "KERAS_BACKEND=no such"),
        ({"KERAS_BACKEND": ""}, '{"backend": "torch"}', "the backend 'torch' in {home}/.keras/keras.json"),
        ({}, "{", "{home}/.keras/keras.json, which holds no settings of Keras"),
        ({}, "", "{home}/.keras/keras.json, which holds no settings of Keras"),
        ({}, '["jax"]', "{home}/.keras/keras.json, which holds no settings of Keras"),
        ({"TF_USE_LEGACY_KERAS": "0"}, None, "TF_USE_LEGACY_KERAS=0"),
    ],
)
def test_another_choice_is_reported_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys, variables: dict[str, str], text: str | None, shown: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if text is not None:
        write(home / ".keras", text)
    use_tensorflow()
    line = f"Keras runs on TensorFlow here. Ignored: {shown.format(home=home)}\n" if shown else ""
    assert capsys.readouterr().err == line
    assert (os.environ["KERAS_BACKEND"], os.environ["TF_USE_LEGACY_KERAS"]) == ("tensorflow", "1")
    use_tensorflow()  # as a process does that this one starts
    assert capsys.readouterr().err == ""


def test_a_home_of_keras_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("KERAS_HOME", str(home / "other"))
    write(home / "other", '{"backend": "jax"}')
    use_tensorflow()
    assert f"the backend 'jax' in {home}/other/keras.json" in capsys.readouterr().err
    for folder in (home / "other" / "keras.json", home / "nowhere"):  # a file, and nothing
        monkeypatch.setenv("KERAS_HOME", str(folder))
        monkeypatch.delenv("KERAS_BACKEND")
        use_tensorflow()
        assert capsys.readouterr().err == ""


def test_keras_itself_uses_tensorflow(home: Path) -> None:
    """Both Keras 3 and the Keras 2 that TensorFlow Recommenders imports would stop at this file."""
    write(home / ".keras", json.dumps({"backend": "jax", "floatx": "float8", "epsilon": "none"}))
    script = (
        "from tfx_pipeline.runtime.keras_backend import use_tensorflow\nuse_tensorflow()\nimport keras, tf_keras\n"
        "print(keras.backend.backend(), keras.config.floatx(), tf_keras.backend.floatx())"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "tensorflow float32 float32\n", done.stderr
    assert [path.name for path in (home / ".keras").rglob("*")] == ["keras.json"]

"""The same results on TensorFlow, JAX and torch, each in an environment with nothing but keras, numpy and itself."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import backend_probe
import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("tensorflow", "jax", "torch")
# What Keras itself and its backends bring; tfx, beam, pandas and the like would mean that the install is not light.
HEAVY = ("tfx", "apache_beam", "pandas", "pyarrow", "tensorflow_transform", "tensorflow_probability", "sklearn")
# Without XLA's optimisations, which cost more here than all they speed up; the results are the same.
QUICK_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "XLA_FLAGS": QUICK_TO_COMPILE}


def interpreter(backend: str) -> Path:
    python = ROOT / ".venvs" / backend / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no .venvs/{backend}: python tests/bcl_keras/make_backend_envs.py makes it")
    return python


def run(backend: str, *arguments: str) -> str:
    environment = {**os.environ, **QUIET, "KERAS_BACKEND": backend}
    done = subprocess.run(
        [interpreter(backend), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@cache
def results_of(backend: str) -> dict[str, np.ndarray]:
    """Return what the probe finds on a backend; run once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.npz"
        run(backend, str(Path(backend_probe.__file__)), str(path))
        return {"backend": np.array(backend), **np.load(path)}


@pytest.fixture(scope="module", params=BACKENDS)
def results(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    return results_of(request.param)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_results_are_those_of_tensorflow(backend: str) -> None:
    reference, results = results_of("tensorflow"), results_of(backend)
    compared = [
        name for name in reference if not name.startswith(("whole_", "messages")) and name not in ("backend", "loaded")
    ]
    assert len(compared) == 25
    for name in compared:
        # The root of a rounded zero is not a small number.
        power = 2 if name.startswith("correlation") else 1
        np.testing.assert_allclose(results[name] ** power, reference[name] ** power, rtol=1e-4, atol=1e-4, err_msg=name)


def test_loaded_model_embeds_as_the_saved_one(results: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(results["query_after_loading"], results["query"], atol=1e-5)


def test_whole_method_trains(results: dict[str, np.ndarray]) -> None:
    loss, matrix = results["whole_loss"], results["whole_correlation"]
    assert np.isfinite(loss).all() and loss[-1] < loss[0]
    np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-3)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
    assert (matrix[~np.eye(len(matrix), dtype=bool)] < 1.0).all()


def test_values_that_a_table_lacks_are_refused(results: dict[str, np.ndarray]) -> None:
    genre = "Field `attribute_genre` (category) must hold ids from 0 to 5. Received: 99 in row 2"
    tags = "Field `attribute_tags` (multi_category) must hold ids from 0 to 12. Received: -4 in row 1"
    rows = "Argument `songs` must hold row numbers from 0 to 23. Received:"
    assert results["messages"].tolist() == [genre, genre, tags, tags, f"{rows} 24 in row 1", f"{rows} -1 in row 0"]


def test_a_saved_model_is_written_or_one_message_names_the_missing_package(results: dict[str, np.ndarray]) -> None:
    backend = str(results["backend"])
    needed, absent = {
        "tensorflow": ("", ""),
        "jax": ("tensorflow", "no tensorflow"),
        "torch": ("tensorflow and torch_xla", "no tensorflow and no torch_xla"),
    }[backend]
    expected = (
        f"Argument `format` 'tf_saved_model' on the {backend} backend must have packages to write with, {needed}. "
        f"Received: {absent}"
    )
    assert str(results["messages_export"]) == (expected if needed else "nothing")


def test_install_is_light(results: dict[str, np.ndarray]) -> None:
    backend = str(results["backend"])
    loaded = {name.split(".")[0] for name in results["loaded"]}
    assert not loaded & set(HEAVY)
    assert not loaded & (set(BACKENDS) - {backend})
    names = ",".join(repr(name) for name in [*HEAVY, *(set(BACKENDS) - {backend})])
    found = run(backend, "-c", f"import importlib.util as u; print([n for n in ({names},) if u.find_spec(n)])")
    assert found.strip() == "[]"

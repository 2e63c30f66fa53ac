"""The same results on TensorFlow, JAX and torch, each in an environment with nothing but keras, numpy and itself."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import backend_probe
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("tensorflow", "jax", "torch")
# What Keras itself and its backends bring; tfx, beam, pandas and the like would mean that the install is not light.
HEAVY = ("tfx", "apache_beam", "pandas", "pyarrow", "tensorflow_transform", "tensorflow_probability", "sklearn")


def interpreter(backend: str) -> Path:
    python = ROOT / ".venvs" / backend / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no .venvs/{backend}: python tests/bcl_keras/make_backend_envs.py makes it")
    return python


def run(backend: str, *arguments: str) -> str:
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [interpreter(backend), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@cache
def reference() -> dict[str, np.ndarray]:
    """Compute in this process, on the backend that the tests run."""
    return backend_probe.compute()


@pytest.fixture(scope="module", params=BACKENDS)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    path = tmp_path_factory.mktemp(request.param) / "results.npz"
    run(request.param, str(Path(backend_probe.__file__)), str(path))
    return {"backend": np.array(request.param), **np.load(path)}


def test_results_are_the_same(results: dict[str, np.ndarray]) -> None:
    compared = [name for name in reference() if not name.startswith("whole_")]
    assert len(compared) == 18
    for name in compared:
        expected, tolerance = reference()[name], 1e-4
        if name.startswith("correlation"):
            expected, results[name] = (
                expected**2,
                results[name] ** 2,
            )  # the root of a rounded zero is not a small number
        np.testing.assert_allclose(results[name], expected, rtol=tolerance, atol=tolerance, err_msg=name)


def test_loaded_model_embeds_as_the_saved_one(results: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(results["query_after_loading"], results["query"], atol=1e-5)


def test_whole_method_trains(results: dict[str, np.ndarray]) -> None:
    loss, matrix = results["whole_loss"], results["whole_correlation"]
    assert np.isfinite(loss).all() and loss[-1] < loss[0]
    np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-3)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
    assert (matrix[~np.eye(len(matrix), dtype=bool)] < 1.0).all()


def test_install_is_light(results: dict[str, np.ndarray]) -> None:
    backend = str(results["backend"])
    loaded = {name.split(".")[0] for name in results["loaded"]}
    assert not loaded & set(HEAVY)
    assert not loaded & (set(BACKENDS) - {backend})
    names = ",".join(repr(name) for name in [*HEAVY, *(set(BACKENDS) - {backend})])
    found = run(backend, "-c", f"import importlib.util as u; print([n for n in ({names},) if u.find_spec(n)])")
    assert found.strip() == "[]"

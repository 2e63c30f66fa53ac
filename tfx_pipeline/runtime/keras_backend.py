"""Keras's backend in the pipeline: TensorFlow, whatever the user chose for Keras."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

BACKEND = "tensorflow"
_LEGACY = "TF_USE_LEGACY_KERAS"
#: A folder that cannot exist: Keras finds no keras.json there and writes none.
_NO_HOME = os.path.join(os.devnull, "keras")


def use_tensorflow() -> None:
    """Makes TensorFlow the backend of this process and of those that it starts; call it before Keras is imported.

    TFX, TensorFlow Transform and the export need it. No keras.json is read: it may name another backend or float type,
    and a run must not depend on the user's home. If the user chose otherwise, a line on standard error says that it is
    ignored.
    """
    if ignored := _other_choice():
        sys.stderr.write(f"Keras runs on TensorFlow here. Ignored: {ignored}\n")
    os.environ |= {"KERAS_BACKEND": BACKEND, "KERAS_HOME": _NO_HOME, _LEGACY: "1"}


def check_is_tensorflow() -> None:
    """Raises RuntimeError if Keras was imported with another backend before this package was."""
    import keras

    if (backend := keras.backend.backend()) != BACKEND:
        raise RuntimeError(
            f"Keras's backend: expected {BACKEND}. Received: {backend}. Set KERAS_BACKEND={BACKEND} before Keras is "
            "imported."
        )


def _other_choice() -> str | None:
    """Returns the variable or file that names another backend or another Keras, or that cannot be read."""
    if os.environ.get(_LEGACY, "1").lower() not in ("1", "true"):
        return f"{_LEGACY}={os.environ[_LEGACY]}"
    if backend := os.environ.get("KERAS_BACKEND"):
        return None if backend == BACKEND else f"KERAS_BACKEND={backend}"
    home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    file = Path(os.path.expanduser(home)) / "keras.json"
    try:
        backend = json.loads(file.read_text(encoding="utf-8")).get("backend", BACKEND)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, AttributeError):
        return f"{file}, which holds no settings of Keras"
    return None if backend == BACKEND else f"the backend {backend!r} in {file}"

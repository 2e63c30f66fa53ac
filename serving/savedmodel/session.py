"""A SavedModel in TensorFlow's own session, as TensorFlow Serving runs it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session

from serving.protocol.errors import RequestError, data_loss, internal, invalid_argument, not_found

Array = np.ndarray[Any, Any]

# One model is loaded at a time: all loads share TensorFlow's logger, whose level is raised meanwhile.
_LOADING = threading.Lock()


def run_unchecked(
    session: tf.compat.v1.Session, feeds: Mapping[Any, Array], fetches: Sequence[Any], options: bytes | None
) -> list[Array]:
    """Runs a session without Python's checks of the feeds, so that TensorFlow's C++ session words the errors.

    The only place that touches the private symbol `TF_SessionRun_wrapper`, the same on TensorFlow 2.16 to 2.21.

    Args:
        session: An open session.
        feeds: Values by TF_Output.
        fetches: TF_Outputs.
        options: A serialized RunOptions or None.
    """
    # Private attributes of tf.compat.v1.Session: there is no public way around its checks.
    if options is None:
        return pywrap_tf_session.TF_SessionRun_wrapper(session._session, None, feeds, fetches, [], None)
    buffer = pywrap_tf_session.TF_NewBufferFromString(options)
    try:
        return pywrap_tf_session.TF_SessionRun_wrapper(session._session, buffer, feeds, fetches, [], None)
    finally:
        pywrap_tf_session.TF_DeleteBuffer(buffer)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences TensorFlow's notes that the loader is deprecated: it is the one that TensorFlow Serving uses."""
    logger = logging.getLogger("tensorflow")
    with _LOADING:
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


class SavedModelSession:
    """One loaded SavedModel.

    Args:
        path: Folder with saved_model.pb.
        tags: Of the graph to load; default serve.
        config: Of the session; None = TensorFlow's defaults.

    Raises:
        RequestError: The model cannot be loaded; code and text are those of TensorFlow's C++ loader where it has one.
    """

    def __init__(self, path: str, *, tags: Sequence[str] = ("serve",), config: Any = None) -> None:
        if not any(os.path.isfile(os.path.join(path, name)) for name in ("saved_model.pb", "saved_model.pbtxt")):
            raise not_found(
                f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}. Check that the "
                "directory exists and that you have the right permissions for accessing it."
            )
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        self._outputs: dict[str, Any] = {}
        try:
            self.meta_graph = self._load(path, list(tags))
        except BaseException:
            self._session.close()
            raise

    def _load(self, path: str, tags: list[str]) -> Any:
        try:
            with _quiet(), self._session.graph.as_default():
                return tf.compat.v1.saved_model.load(self._session, tags, path)
        except tf.errors.OpError as error:
            raise RequestError.from_number(error.error_code, str(error.message)) from error
        except OSError as error:
            raise data_loss(f"Can't parse {path}/saved_model.pb as binary proto") from error
        except RuntimeError as error:
            raise not_found(
                f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To inspect available "
                "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
            ) from error
        except Exception as error:
            raise invalid_argument(f"{type(error).__name__} while loading {path}: {error}") from error

    @property
    def signatures(self) -> Mapping[str, Any]:
        """SignatureDefs by name, the initialiser's included, as GetModelMetadata lists them."""
        return self.meta_graph.signature_def

    def _output(self, name: str) -> Any:
        if name not in self._outputs:
            try:
                self._outputs[name] = self._session.graph.get_tensor_by_name(name)._as_tf_output()
            except (KeyError, ValueError) as error:
                raise invalid_argument(
                    f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
                ) from error
        return self._outputs[name]

    def run(
        self, feeds: Sequence[tuple[str, Array]], fetches: Sequence[str], timeout_ms: int | None = None
    ) -> list[Array]:
        """Runs the graph.

        Args:
            feeds: Names of tensors and their values.
            fetches: Names of tensors.
            timeout_ms: Milliseconds; None = no limit.

        Returns:
            An array per fetch; strings as object arrays of bytes.

        Raises:
            RequestError: With TensorFlow's own code and text.
        """
        options = None
        if timeout_ms is not None:
            options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, timeout_ms)).SerializeToString()
        outputs = [self._output(name) for name in fetches]
        inputs = {self._output(name): value for name, value in feeds}
        try:
            return run_unchecked(self._session, inputs, outputs, options)
        except tf.errors.OpError as error:
            raise RequestError.from_number(error.error_code, str(error.message)) from error
        except UnicodeDecodeError as error:
            # The text of TensorFlow's error has bytes of the request, such as an example that cannot be parsed, and
            # Python cannot decode it. Its code is lost. An error caused by a request's own bytes is INVALID_ARGUMENT.
            raise invalid_argument(error.object.decode("utf-8", "replace")) from error
        except (RuntimeError, TypeError, ValueError) as error:
            raise internal(f"TensorFlow refused the request: {error}") from error

    def close(self) -> None:
        """Frees the session and its variables."""
        self._session.close()
        self._outputs.clear()

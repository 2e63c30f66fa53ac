"""Flags of tensorflow_model_server that mean nothing here.

A start command that works with TensorFlow Serving works with the embedded server, too. Source: main.cc of
tensorflow_model_server.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Not among them: `use_alts_credentials`. To ignore it would open a port in plain text.
FOREIGN_FLAGS = frozenset(
    {
        "enable_profiler",
        "enforce_session_run_timeout",
        "flush_filesystem_caches",
        "force_allow_any_version_labels_for_unavailable_models",
        "mixed_precision",
        "num_load_threads",
        "num_tflite_interpreters_per_pool",
        "num_tflite_pools",
        "num_unload_threads",
        "platform_config_file",
        "prefer_tflite_model",
        "remove_unused_fields_from_bundle_metagraph",
        "servable_versions_always_present",
        "skip_initialize_tpu",
        "tensorflow_session_config_file",
        "thread_pool_factory_config_file",
        "total_model_memory_limit_bytes",
        "xla_cpu_compilation_enabled",
        "xla_gpu_compilation_enabled",
    }
)


def split_foreign(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments that mean something here, and the names of the flags that do not.

    Args:
        arguments: A command line. A foreign flag has its value after `=`, or as the next argument, or none.
    """
    own: list[str] = []
    foreign: list[str] = []
    after_foreign = False
    for argument in arguments:
        name = argument.removeprefix("--").partition("=")[0].replace("-", "_")
        is_flag = argument.startswith("--")
        if is_flag and name in FOREIGN_FLAGS:
            foreign.append(name)
            after_foreign = "=" not in argument
        elif is_flag or not after_foreign:
            own.append(argument)
            after_foreign = False
        else:
            after_foreign = False
    return own, foreign

"""A fingerprint of our code for TFX's cache, whose own key hashes neither dotted modules nor component bodies."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

_OURS = ("bcl_keras", "serving", "tfx_pipeline")


def code_fingerprint(*modules: str) -> str:
    """Returns a hash of the source of `modules` and of all modules of this project that they import, directly or not.

    Args:
        *modules: Dotted names.

    Raises:
        ModuleNotFoundError: If a named module does not exist.
    """
    pending, sources = list(modules), {}
    while pending:
        module = pending.pop()
        if module in sources:
            continue
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        sources[module] = Path(spec.origin).read_bytes()
        is_package = spec.submodule_search_locations is not None
        pending.extend(_imports_of_ours(sources[module], module if is_package else module.rpartition(".")[0]))
    digest = hashlib.blake2b(digest_size=16)
    for module in sorted(sources):
        digest.update(module.encode() + b"\0" + sources[module] + b"\0")
    return digest.hexdigest()


def _imports_of_ours(source: bytes, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in _OURS and _is_module(name):
                yield name


def _is_module(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return False
    return spec is not None and spec.origin is not None

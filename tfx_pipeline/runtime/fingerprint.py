"""A fingerprint of our code for TFX's cache, whose own key covers neither dotted modules nor component bodies."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
from functools import cache
from pathlib import Path

_OURS = ("bcl_keras", "serving", "tfx_pipeline")


def code_fingerprint(*modules: str) -> str:
    """Returns a hash of the source of `modules` and of all modules of this project that they import, directly or not.

    Nothing is imported.

    Args:
        *modules: Dotted names.

    Raises:
        ModuleNotFoundError: If a named module is not one of this project.
    """
    pending, sources = list(modules), {}
    for module in modules:
        if _file_of(module) is None:
            raise ModuleNotFoundError(f"No module of this project named {module!r}", name=module)
    while pending:
        module = pending.pop()
        file = _file_of(module)
        if file is None or module in sources:
            continue
        sources[module] = file.read_bytes()
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        pending.extend([package, *_imports(sources[module], package)])
    digest = hashlib.blake2b(digest_size=16)
    for module in sorted(sources):
        digest.update(module.encode() + b"\0" + sources[module] + b"\0")
    return digest.hexdigest()


def file_digest(file: Path | str) -> str:
    """Returns a digest of a file's content, the same wherever it lies."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def set_time_by_content(file: Path | str) -> None:
    """Gives a file a time made from its content.

    ExampleGen's cache key depends on the file's size and its time in whole seconds. With this time, it depends on the
    content alone.
    """
    seconds = 1_000_000_000 + int(file_digest(file)[:7], 16)
    os.utime(file, (seconds, seconds))


@cache
def _imports(source: bytes, package: str) -> tuple[str, ...]:
    """Returns every dotted name that may be an imported module or a name in one."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            names += (base, *(f"{base}.{alias.name}" for alias in node.names))
    return tuple(names)


def _file_of(module: str) -> Path | None:
    top, *rest = module.split(".")
    if top not in _OURS:
        return None
    path = _root(top).joinpath(*rest)
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


@cache
def _root(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(spec.origin).parent

"""A digest of the definitions that a figure depends on, so that a result says whether today's code would give it.

The digest follows names: from a function to what it names in its module, from there to what these name, and into other
modules of this repository. So a figure is stale when a line that may change it has changed, and stays when a document,
a comment or another row has.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
#: Packages whose definitions are followed; others are libraries.
PACKAGES = ("bcl_keras", "benchmarks", "serving", "tfx_pipeline")


class _Module(NamedTuple):
    """The top level of a module.

    Attributes:
        definitions: Name -> the statements that give it a value.
        imports: Name -> (module, name in it, or None for the module itself).
    """

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, tuple[str, str | None]]


def code_digest(*starts: Any) -> str:
    """Returns 16 hexadecimal digits of all that some functions or classes depend on in this repository.

    Args:
        starts: Functions, classes, or `functools.partial` of them; of a partial the functions among its arguments too.
    """
    return digest_of(frozenset(name for start in starts for name in _names(start)))


@cache
def digest_of(starts: frozenset[tuple[str, str]]) -> str:
    """Returns the same from pairs of a module and a name in it."""
    seen: set[tuple[str, str]] = set()
    waiting = list(starts)
    while waiting:
        place = waiting.pop()
        if place not in seen:
            seen.add(place)
            waiting += _named_by(*place)
    digest = hashlib.blake2b(digest_size=8)
    for module, name in sorted(seen):
        digest.update(f"{module} {name} {_structure(module, name)}\n".encode())
    return digest.hexdigest()


def _names(start: Any) -> list[tuple[str, str]]:
    if isinstance(start, partial):
        return [name for part in (start.func, *start.args, *start.keywords.values()) for name in _names(part)]
    if isinstance(start, (tuple, list)):
        return [name for part in start for name in _names(part)]
    module, name = getattr(start, "__module__", None), getattr(start, "__qualname__", None)
    if module is None or name is None:  # a plain value, or an instance: its class
        return _names(type(start)) if _is_ours(type(start).__module__) else []
    return [(module, part) for part in _tops(module, name)] if _is_ours(module) else []


def _tops(module: str, name: str) -> list[str]:
    """Returns a top-level name, or all of a module where a function has none, such as a lambda."""
    top = name.partition(".")[0]
    return [top] if top in _module(module).definitions else list(_module(module).definitions)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


@cache
def _module(name: str) -> _Module:
    path = _path(name)
    found = _Module({}, {})
    for statement in ast.parse(path.read_text(encoding="utf-8")).body if path else ():
        _read(name, statement, found)
    return found


@cache
def _path(module: str) -> Path | None:
    """Returns the file of a module of this repository."""
    place = ROOT.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _read(module: str, statement: ast.stmt, found: _Module) -> None:
    """Adds a statement of a module's top level; those inside `if` and `try` count as well."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            top = alias.name.split(".")[0]
            found.imports[alias.asname or top] = (alias.name if alias.asname else top, None)
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            found.imports[alias.asname or alias.name] = (statement.module or module, alias.name)
    elif isinstance(statement, (ast.If, ast.Try, ast.With)):
        for inner in ast.iter_child_nodes(statement):
            if isinstance(inner, ast.stmt):
                _read(module, inner, found)
    else:
        for name in _defined(statement):
            found.definitions.setdefault(name, []).append(statement)


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


@cache
def _named_by(module: str, name: str) -> list[tuple[str, str]]:
    """Returns the definitions that a definition names."""
    read = _module(module)
    if name in read.imports and name not in read.definitions:
        return _reached(*read.imports[name], ())
    found: list[tuple[str, str]] = []
    for statement in read.definitions.get(name, []):
        inner = _Module({}, dict(read.imports))
        for node in ast.walk(statement):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                _read(module, node, inner)
        for chain in _chains(statement):
            if chain[0] in inner.imports:
                found += _reached(*inner.imports[chain[0]], chain[1:])
            elif chain[0] in read.definitions:
                found.append((module, chain[0]))
    return found


def _chains(statement: ast.stmt) -> Iterable[tuple[str, ...]]:
    """Yields each name with the attributes that follow it: `towers.scorer` is ("towers", "scorer")."""
    within: set[int] = set()  # ast.walk visits a whole chain before its parts
    for node in ast.walk(statement):
        if id(node) in within:
            continue
        attributes: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
            within.add(id(inner))
        if isinstance(inner, ast.Name):
            yield (inner.id, *reversed(attributes))


def _reached(module: str, name: str | None, attributes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Returns the definition that an import and the attributes after it lead to, through packages."""
    if not _is_ours(module):
        return []
    chain = attributes if name is None else (name, *attributes)
    while chain and _path(f"{module}.{chain[0]}"):
        module, chain = f"{module}.{chain[0]}", chain[1:]
    return (
        [(module, chain[0])] if chain else [(module, each) for each in _module(module).definitions if each[:2] != "__"]
    )


@cache
def _structure(module: str, name: str) -> str:
    return " ".join(_without_words(statement) for statement in _module(module).definitions.get(name, []))


def _without_words(statement: ast.stmt) -> str:
    """Returns a statement's structure without docstrings; comments and places are not in it."""
    copied = ast.parse(ast.unparse(statement))
    for node in ast.walk(copied):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(copied)

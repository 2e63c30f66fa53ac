"""Connections of ML Metadata to MySQL and PostgreSQL, with one clear message where there is none."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ml_metadata import errors, metadata_store
from ml_metadata.proto import metadata_store_pb2

from tfx_pipeline.history.database_address import ADDRESS, PASSWORD, PASSWORD_FILE, DatabaseAddress
from tfx_pipeline.history.postgresql_text import keep_backslashes

#: Type of the contexts that name folders of runs.
FOLDER_TYPE = "bcl.run_folder"
_CHARACTERS = "Größe \u6f22 \U0001f3b5 \\ ' \" %s $0"
_SECONDS = 10.0
_ATTEMPTS, _PAUSE = 10, 0.2
#: In messages about tables that another run creates at the same moment.
_CREATED_MEANWHILE = ("concurren", "duplicate key", "already exists")
_CHECK_PASSWORD = f"Check the user, and the password in {PASSWORD_FILE} or {PASSWORD}."


class DatabaseError(ValueError):
    """A database cannot be used; the message says why."""


def connect(address: DatabaseAddress) -> metadata_store.MetadataStore:
    """Connects to a database, and creates ML Metadata's tables where it has none.

    Raises:
        AddressError: If the file with the password cannot be read.
        DatabaseError: If no server answers, or it refuses the user, the password or the database.
    """
    config = address.connection_config()
    if address.kind == "postgresql":
        keep_backslashes()
    _reach(address)
    for attempt in range(1, _ATTEMPTS + 1):
        with _captured_stderr() as written:
            try:
                return metadata_store.MetadataStore(config)
            except (errors.StatusError, RuntimeError) as error:
                is_meanwhile = any(words in str(error) for words in _CREATED_MEANWHILE)
                if not is_meanwhile or attempt == _ATTEMPTS:
                    raise DatabaseError(f"{ADDRESS}: {address}: {_why(address, str(error), written())}") from None
        time.sleep(attempt * _PAUSE)
    raise AssertionError("the last attempt returns or raises")


def _reach(address: DatabaseAddress) -> None:
    """Raises an error where no server answers: ML Metadata has no time limit, and for MySQL no reason."""
    try:
        socket.create_connection((address.host, address.port), _SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise DatabaseError(
            f"{ADDRESS}: {address}: expected a server at {address.host}, port {address.port}. Received: {reason}"
        ) from None


def _why(address: DatabaseAddress, error: str, written: str) -> str:
    """Returns the reason of a failure. ML Metadata gives that of PostgreSQL to standard error alone."""
    if "mysql_real_connect failed" in error:  # which gives no reason
        return (
            f"expected a user that the server knows. Received: a refusal. {_CHECK_PASSWORD} "
            "The user must log in by mysql_native_password, which ML Metadata needs."
        )
    if found := re.search(r"PostgreSQL error: (?:FATAL: *)?(.+)", written):
        hint = f" {_CHECK_PASSWORD}" if "password" in found[1] else ""
        return f"expected a database that the user may use. Received: {found[1].strip()}.{hint}"
    reason = error.rpartition("error: ")[2].strip().splitlines() or [error]
    return f"expected a database of ML Metadata that the user may use. Received: {reason[0]}"


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Keeps what C++ writes to standard error; yields a function that returns it."""
    sys.stderr.flush()
    saved, kept = os.dup(2), os.memfd_create("stderr")
    os.dup2(kept, 2)
    try:
        yield lambda: os.pread(kept, os.fstat(kept).st_size, 0).decode("utf-8", "replace")
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(kept)


def register_folder(store: Any, folder_id: str, home: str) -> None:
    """Records a folder of runs, unless it is recorded, and checks that the database keeps every character.

    Raises:
        DatabaseError: If it changes or refuses some.
    """
    texts = {"path": home, "characters": _CHARACTERS}
    try:
        found = store.get_context_by_type_and_name(FOLDER_TYPE, folder_id)
        if found is None:
            kind = store.put_context_type(metadata_store_pb2.ContextType(name=FOLDER_TYPE))
            context = metadata_store_pb2.Context(type_id=kind, name=folder_id)
            for name, text in texts.items():
                context.custom_properties[name].string_value = text
            store.put_contexts([context])
            found = store.get_context_by_type_and_name(FOLDER_TYPE, folder_id)
        is_kept = found.custom_properties["characters"].string_value == _CHARACTERS
    except errors.InternalError:
        is_kept = False
    if not is_kept:
        raise DatabaseError(
            f"{ADDRESS}: expected a database that keeps every character: utf8mb4 for MySQL, UTF8 for PostgreSQL. "
            "Received: one that does not."
        )

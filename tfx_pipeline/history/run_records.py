"""Where the runs of a folder are recorded: in its own SQLite file, or in a database that folders and hosts share."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata import errors, metadata_store
from ml_metadata.proto import metadata_store_pb2

from serving.files.whole_files import write_whole
from tfx_pipeline.history.database_address import ADDRESS, DatabaseAddress
from tfx_pipeline.history.database_connection import connect, register_folder
from tfx_pipeline.runtime.run_folder import RunFolder

_Modes = metadata_store_pb2.SqliteMetadataSourceConfig
#: File in a run's folder that names the database of its runs.
NAME = "metadata.json"
#: Property of a run that says whose it is, in a shared database.
OWNER = "bcl_owner"


@dataclass(frozen=True)
class RunRecords:
    """The records of a pipeline's runs in a folder.

    Attributes:
        file: SQLite database, where no other one is used.
        pipeline_root: Folder of the outputs that the runs recorded.
        address: The shared database; None for SQLite.
        folder_id: What a shared database knows the folder by; "" before its first run.
        is_of_refreshes: Whether these are runs of the refresh pipeline, which a folder keeps apart.
    """

    file: Path
    pipeline_root: Path
    address: DatabaseAddress | None = None
    folder_id: str = ""
    is_of_refreshes: bool = False

    @classmethod
    def of(cls, folder: RunFolder, *, refreshes: bool = False) -> RunRecords:
        """Returns the records of a folder: where its first run is recorded, else where BCL_METADATA says.

        Raises:
            AddressError: If BCL_METADATA is no address.
            ValueError: If BCL_METADATA names another database than the folder's.
        """
        home = folder.home / "refresh" if refreshes else folder.home
        file, root = home / folder.metadata.name, home / folder.pipeline_root.name
        given = os.environ.get(ADDRESS)
        address = DatabaseAddress.parse(given) if given else None
        bound = _bound(folder)
        if bound is not None:
            own, folder_id = bound
            if address is not None and not address.is_same_database(own):
                raise ValueError(
                    f"{ADDRESS}: expected {own}, which records the runs of {folder.home}. Received: {address}. Use "
                    f"another folder or, if the database has moved, write its new address into {folder.home / NAME}."
                )
            return cls(file, root, address or own, folder_id, refreshes)
        if address is not None and folder.metadata.exists():
            raise ValueError(
                f"{ADDRESS}: expected none, as {folder.metadata} records the runs of {folder.home}. "
                f"Received: {address}. Use another folder."
            )
        return cls(file, root, address, "", refreshes)

    @property
    def is_shared(self) -> bool:
        """Whether other folders may use the database, too."""
        return self.address is not None

    @property
    def owner(self) -> str:
        """What the runs carry in a shared database."""
        return f"{self.folder_id}/refresh" if self.is_of_refreshes else self.folder_id

    def exist(self) -> bool:
        """Returns whether a run may have been recorded."""
        return bool(self.folder_id) if self.is_shared else self.file.exists()

    def check(self) -> None:
        """Checks that a shared database can be used, and changes nothing but to create its tables.

        Raises:
            AddressError: If the file with the password cannot be read.
            DatabaseError: If the database cannot be used.
        """
        if self.address is not None:
            connect(self.address)

    def begin(self, folder: RunFolder) -> RunRecords:
        """Prepares a run, while its lock is held: checks a shared database, and ties the folder to it.

        Returns:
            The records, with the id under which a shared database knows the folder.

        Raises:
            AddressError: If the file with the password cannot be read.
            DatabaseError: If the database cannot be used.
        """
        if self.address is None:
            return self
        store, folder_id = connect(self.address), self.folder_id or uuid.uuid4().hex
        register_folder(store, folder_id, str(folder.home))
        if not self.folder_id:
            content = {"address": str(self.address), "folder": folder_id}
            write_whole(folder.home / NAME, json.dumps(content, indent=1) + "\n")
        return RunRecords(self.file, self.pipeline_root, self.address, folder_id, self.is_of_refreshes)

    def open(self, *, read_only: bool = False) -> metadata_store.MetadataStore:
        """Opens the database.

        Args:
            read_only: Whether a SQLite file is opened without the right to write.

        Raises:
            ValueError: If there is none, it is another file, or the server refuses.
        """
        if self.address is not None:
            if not self.folder_id:
                raise ValueError(f"{self.file.parent}: expected the folder of a run. Received: no run in it yet.")
            return connect(self.address)
        return _open_sqlite(self.file, read_only=read_only)

    def connection_config(self) -> metadata_store_pb2.ConnectionConfig:
        """Returns what TFX connects with; a SQLite file is made where there is none."""
        if self.address is not None:
            return self.address.connection_config()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return _sqlite(self.file, _Modes.READWRITE_OPENCREATE)

    def is_own(self, context: Any) -> bool:
        """Returns whether a recorded run is one of this folder and pipeline."""
        return not self.is_shared or context.custom_properties[OWNER].string_value == self.owner


def use_database(address: str | None) -> None:
    """Makes an address that an option gives take the place of BCL_METADATA in this process."""
    if address is not None:
        os.environ[ADDRESS] = address


def _bound(folder: RunFolder) -> tuple[DatabaseAddress, str] | None:
    file = folder.home / NAME
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        address, folder_id = str(content["address"]), str(content["folder"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{file}: expected JSON with address and folder, as a run wrote it. Received: other text"
        ) from None
    return DatabaseAddress.parse(address, str(file)), folder_id


def _open_sqlite(file: Path, *, read_only: bool) -> metadata_store.MetadataStore:
    if not file.is_file():
        raise ValueError(f"{file}: expected the record of a run. Received: no such file. Run the pipeline first.")
    try:
        return metadata_store.MetadataStore(_sqlite(file, _Modes.READONLY if read_only else _Modes.READWRITE))
    except (errors.StatusError, RuntimeError) as error:
        raise ValueError(f"{file}: expected a database of ML Metadata. Received: {error}") from error


def _sqlite(file: Path, mode: int) -> metadata_store_pb2.ConnectionConfig:

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri, config.sqlite.connection_mode = str(file), mode
    return config

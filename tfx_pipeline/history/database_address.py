"""The address of a MySQL or PostgreSQL database that records runs, as BCL_METADATA names it, and its password."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from ml_metadata.proto import metadata_store_pb2

ADDRESS = "BCL_METADATA"
PASSWORD, PASSWORD_FILE = "BCL_METADATA_PASSWORD", "BCL_METADATA_PASSWORD_FILE"
#: Port of a server, and the variable from which its client library takes the password. So no message, log or record
#: of TFX ever holds it, and every character is possible: ML Metadata does not escape what it hands to PostgreSQL.
_SERVERS = {"mysql": (3306, "MYSQL_PWD"), "postgresql": (5432, "PGPASSWORD")}
_EXPECTED = "expected mysql://USER@HOST/DATABASE or postgresql://USER@HOST/DATABASE"
_NAME = re.compile(r"[\w.$@:-]+", re.ASCII)


class AddressError(ValueError):
    """The address of a database, or its password, cannot be used. The message never holds a password."""


@dataclass(frozen=True)
class DatabaseAddress:
    """A database on a server.

    Attributes:
        kind: `mysql`, which MariaDB is too, or `postgresql`.
        user: Name of the user.
        host: Name or number of the host.
        port: TCP port of the server.
        database: Name of the database.
    """

    kind: str
    user: str
    host: str
    port: int
    database: str

    @classmethod
    def parse(cls, text: str, source: str = ADDRESS) -> DatabaseAddress:
        """Returns the address that a text names.

        Args:
            text: As `mysql://user@host:3306/database`. The port may be missing.
            source: What the message of an error begins with.

        Raises:
            AddressError: If the text is no such address, or holds a password.
        """
        try:
            parts = urlsplit(text)
            if parts.password is not None:
                raise AddressError(f"{source}: expected no password in it. Put it into {PASSWORD_FILE} or {PASSWORD}.")
            port = parts.port
        except AddressError:
            raise
        except ValueError:
            raise AddressError(f"{source}: {_EXPECTED}. Received: a port that is no number up to 65535") from None
        user, host, database = unquote(parts.username or ""), parts.hostname or "", unquote(parts.path[1:])
        wrong = _wrong(parts, {"user": user, "host": host, "database": database}, port)
        if wrong:
            raise AddressError(f"{source}: {_EXPECTED}. Received: {wrong}")
        return cls(parts.scheme, user, host, port or _SERVERS[parts.scheme][0], database)

    def __str__(self) -> str:
        """Returns the address, in which no password stands."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{self.user.replace('@', '%40')}@{host}:{self.port}/{self.database}"

    def is_same_database(self, other: DatabaseAddress) -> bool:
        """Returns whether both name one database, whoever the users are."""
        ours, theirs = ((one.kind, one.host, one.port, one.database) for one in (self, other))
        return ours == theirs

    def connection_config(self) -> metadata_store_pb2.ConnectionConfig:
        """Returns what ML Metadata connects with, and hands the password to its client library.

        A database that is missing is not created: its name may be a mistake.

        Raises:
            AddressError: If the file with the password cannot be read.
        """
        password = _password()
        if password is not None:
            os.environ[_SERVERS[self.kind][1]] = password
        config = metadata_store_pb2.ConnectionConfig()
        if self.kind == "mysql":
            # For this client library, the word localhost is a socket file and not a host.
            host = "127.0.0.1" if self.host == "localhost" else self.host
            config.mysql.host, config.mysql.port, config.mysql.user = host, self.port, self.user
            config.mysql.database, config.mysql.skip_db_creation = self.database, True
        else:
            config.postgresql.host, config.postgresql.port = self.host, str(self.port)
            config.postgresql.user, config.postgresql.dbname = self.user, self.database
            config.postgresql.skip_db_creation = True
        return config


def _wrong(parts: SplitResult, names: dict[str, str], port: int | None) -> str | None:
    """Returns what is wrong with an address, without any text of it, which may be a secret."""
    if parts.scheme not in _SERVERS or not parts.netloc:
        return "another beginning"
    if parts.query or parts.fragment:
        return "more after the database"
    for part, name in names.items():
        if not name:
            return f"no {part}"
        if not _NAME.fullmatch(name):
            return f"a {part} with characters other than letters, digits and _ . $ @ -"
    return "port 0" if port == 0 else None


def _password() -> str | None:
    file = os.environ.get(PASSWORD_FILE)
    if not file:
        return os.environ.get(PASSWORD)
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "text that is not UTF-8"
        raise AddressError(f"{PASSWORD_FILE}: {file}: expected a file with the password. Received: {reason}") from None
    password = text.rstrip("\r\n")
    if not password or "\0" in password or "\n" in password:
        raise AddressError(f"{PASSWORD_FILE}: {file}: expected one line, the password. Received: another text")
    return password

"""Database servers for tests, started from Debian's packages as processes of the test's own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import LAST_RESORT, eventually

USER = "night-shift"
#: Everything that a shell, SQL or libpq's own syntax could take for something else.
PASSWORD = "p w'\"\\$`;#%é"

_TEXT = ("-E", "UTF8", "--locale=C.UTF-8", "--no-sync")


@dataclass(frozen=True)
class Server:
    """A server that listens on this machine.

    Attributes:
        kind: `mysql` or `postgresql`.
        port: Its TCP port.
        client: Command that runs the SQL that it reads.
        log: File that the server writes.
    """

    kind: str
    port: int
    client: list[str]
    log: Path

    def address(self, database: str, *, user: str = USER, host: str = "localhost") -> str:
        return f"{self.kind}://{user}@{host}:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Creates an empty database and returns its address."""
        quote = "`" if self.kind == "mysql" else '"'
        self.sql(f"CREATE DATABASE {quote}{database}{quote};")
        if self.kind == "mysql":
            self.sql(f"GRANT ALL ON `{database}`.* TO '{USER}'@'%';")
        return self.address(database)

    def answers(self) -> bool:
        try:
            self.sql("SELECT 1;")
        except subprocess.CalledProcessError:
            return False
        return True

    def sql(self, text: str) -> None:
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        subprocess.run(self.client, input=text.encode(), check=True, capture_output=True, env=environment)


@contextmanager
def mariadb() -> Iterator[Server]:
    """Runs MariaDB, or skips the test where it is not installed."""
    server, install, client = _programs("mariadbd", "mariadb-install-db", "mariadb")
    with _folder(None) as home:
        port, as_user = _free_port(), [f"--user={pwd.getpwuid(os.getuid()).pw_name}"]
        data = f"--datadir={home / 'data'}"
        subprocess.run(
            [install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db", *as_user],
            check=True,
            capture_output=True,
        )
        command = [server, "--no-defaults", data, f"--port={port}", "--bind-address=127.0.0.1", *as_user]
        command += [f"--socket={home / 'socket'}", f"--pid-file={home / 'pid'}", "--innodb-flush-log-at-trx-commit=0"]
        talk = [client, "--no-defaults", f"--socket={home / 'socket'}", "--user=root"]
        with _running(command, home / "log", port, signal.SIGTERM):
            found = Server("mysql", port, [*talk, "--default-character-set=utf8mb4"], home / "log")
            text = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
            found.sql(f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{text}';")
            yield found


@contextmanager
def postgresql() -> Iterator[Server]:
    """Runs PostgreSQL, or skips the test where it is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    server, install, client = _programs("postgres", "initdb", "psql", where=installed[-1:])
    user = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses root
    if user is not None and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL refuses root, and there is no user postgres")
    with _folder(user) as home:
        port, options = _free_port(), _as_user(user)
        (home / "password").write_text(PASSWORD, encoding="utf-8")
        subprocess.run(
            [install, "-D", home / "data", "-A", "scram-sha-256", f"--pwfile={home / 'password'}", "-U", USER, *_TEXT],
            check=True,
            capture_output=True,
            cwd=home,
            **options,
        )
        command = [server, "-D", str(home / "data"), "-p", str(port), "-k", str(home), "-c", "fsync=off"]
        command += ["-c", "listen_addresses=127.0.0.1"]
        talk = [client, "-q", "-h", "127.0.0.1", "-p", str(port), "-U", USER, "-d", "postgres", "-v", "ON_ERROR_STOP=1"]
        with _running(command, home / "log", port, signal.SIGINT, cwd=home, **options):
            found = Server("postgresql", port, talk, home / "log")
            assert eventually(found.answers), found.log.read_text(errors="replace")  # it listens before it is ready
            yield found


def _programs(*names: str, where: list[Path] | None = None) -> list[str]:
    path = os.pathsep.join([*map(str, where or ()), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/bin"])
    found = [shutil.which(name, path=path) for name in names]
    if None in found:
        pytest.skip(f"{names[found.index(None)]} is not installed")
    return [str(program) for program in found]


@contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    """A folder outside pytest's own, which other users cannot enter."""
    home = Path(tempfile.mkdtemp(prefix="database-"))
    if user is not None:
        shutil.chown(home, user)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _running(command: list[str], log: Path, port: int, stop: signal.Signals, **options: Any) -> Iterator[None]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, **options)
    try:
        until = time.monotonic() + LAST_RESORT
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < until, log.read_text(errors="replace")
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(LAST_RESORT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _as_user(user: str | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

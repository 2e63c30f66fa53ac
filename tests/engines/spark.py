"""A standalone Spark cluster: one master and two workers, in processes of their own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.job_service import Cluster, job_server_jar
from tests.engines.processes import Servers, servers
from tests.waiting import eventually, reserved_port

WORKERS = 2
_DEPLOY = "org.apache.spark.deploy"
#: What Spark's own launcher opens to Java 17.
_LANG = ("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio")
_UTIL = ("java.util", "java.util.concurrent", "java.util.concurrent.atomic")
_SUN = ("jdk.internal.ref", "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar")
_JAVA = [
    "java",
    "-Xmx512m",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in (*_LANG, *_UTIL, *_SUN)),
]


@contextmanager
def spark(home: Path, job_server: Path, folder: Path, environment: dict[str, str] | None = None) -> Iterator[Cluster]:
    """Yields a cluster with Beam's job server and a pool of SDK workers.

    Args:
        home: Where `make engines` put Spark.
        job_server: Beam's jar.
        folder: For logs and work.
        environment: What differs for the SDK workers.
    """
    with reserved_port() as port, reserved_port() as page, servers(folder) as group:
        start_spark(group, home, port, page)
        with job_server_jar(
            group, [*_JAVA, "-jar", job_server, f"--spark-master-url=spark://127.0.0.1:{port}"], environment
        ) as (jobs, pool):
            yield Cluster("spark", jobs, pool, group)


def start_spark(group: Servers, home: Path, port: int, page: int) -> None:
    """Starts the master and the workers, and waits until all are registered."""
    command = [*_JAVA, "-cp", f"{home}/jars/*"]
    here = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home)}
    at_master = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
    group.start("master", [*command, f"{_DEPLOY}.master.Master", *at_master], port=page, environment=here)
    for number in range(WORKERS):
        words = ["--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "1g"]
        work = ["--work-dir", str(group.folder / f"work-{number}"), f"spark://127.0.0.1:{port}"]
        start = [*command, f"{_DEPLOY}.worker.Worker", *words, *work]
        group.start(f"worker-{number}", start, port=page, environment=here)
    assert eventually(lambda: alive_workers(page) == WORKERS)


def alive_workers(page: int) -> int:
    """Returns how many workers the master knows to be alive."""
    with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=30) as reply:
        return int(json.load(reply)["aliveworkers"])

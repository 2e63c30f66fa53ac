"""A standalone Flink cluster: one job manager and two task managers, in processes of their own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.job_service import Cluster, job_server_jar
from tests.engines.processes import Servers, servers
from tests.waiting import eventually, reserved_port

TASK_MANAGERS = 2
_MAIN = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASKS = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
#: What Flink's own configuration opens to Java 17.
_OPENED = ("java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time")
_UTIL = ("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks")
_JAVA = [
    "java",
    "-Xmx512m",
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in (*_OPENED, *_UTIL)),
]
#: Flink's start scripts compute these; its package for Python has none.
_MEMORY = {
    "taskmanager.cpu.cores": 1.0,
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.heap.size": "256m",
    "taskmanager.memory.task.off-heap.size": "0b",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
}


@contextmanager
def flink(home: Path, job_server: Path, folder: Path, environment: dict[str, str] | None = None) -> Iterator[Cluster]:
    """Yields a cluster with Beam's job server and a pool of SDK workers.

    Args:
        home: Where `make engines` put Flink.
        job_server: Beam's jar.
        folder: For logs and settings.
        environment: What differs for the SDK workers.
    """
    with reserved_port() as rpc, reserved_port() as rest, servers(folder) as group:
        start_flink(group, home, rpc, rest)
        with job_server_jar(
            group, [*_JAVA, "-jar", job_server, f"--flink-master=http://127.0.0.1:{rest}"], environment
        ) as (jobs, pool):
            yield Cluster("flink", jobs, pool, group)


def start_flink(group: Servers, home: Path, rpc: int, rest: int) -> None:
    """Starts the job manager and the task managers, and waits until all are registered."""
    settings = {
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": rpc,
        "jobmanager.bind-host": "127.0.0.1",
        "jobmanager.memory.process.size": "1024m",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.numberOfTaskSlots": 1,
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": rest,
        "parallelism.default": TASK_MANAGERS,
        "io.tmp.dirs": str(group.folder / "tmp"),
        # A task manager that was killed is found soon.
        "heartbeat.interval": 2000,
        "heartbeat.timeout": 10000,
        **_MEMORY,
    }
    (group.folder / "conf").mkdir(parents=True, exist_ok=True)
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in settings.items()]
    (group.folder / "conf" / "config.yaml").write_text("".join(lines))
    command = [*_JAVA, "-cp", f"{home}/lib/*"]
    group.start("jobmanager", [*command, _MAIN, "--configDir", group.folder / "conf"], port=rest)
    for number in range(TASK_MANAGERS):
        group.start(f"taskmanager-{number}", [*command, _TASKS, "--configDir", group.folder / "conf"], port=rest)
    assert eventually(lambda: len(task_managers(rest)) == TASK_MANAGERS)


def task_managers(rest: int) -> list[str]:
    """Returns the ids of the registered task managers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{rest}/taskmanagers", timeout=30) as reply:
        return [found["id"] for found in json.load(reply)["taskmanagers"]]

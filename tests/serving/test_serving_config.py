"""The shipped configuration files: the embedded server reads them as TensorFlow Serving does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import small_model
import yaml

from serving import smoke
from serving.client import Client
from serving.server import EmbeddedServer
from serving.server.batching.parameters import read_batch_parameters
from serving.server.config_files import read_text_proto
from serving.server.flags import parse_flags
from serving.server.models.config import read_model_config_file, read_models

CONFIG = Path(smoke.__file__).with_name("config")


def test_make_serve_smoke_runs_it() -> None:
    makefile = (CONFIG.parents[1] / "Makefile").read_text()
    assert 'serve-smoke: $(READY)\n\t@$(BIN)/python -m serving.smoke $${MODEL_DIR:+"$$MODEL_DIR"}\n' in makefile


def test_the_files_are_part_of_the_package() -> None:
    """An installed copy must have them too: package data lists every file that is no module."""
    text = (CONFIG.parents[1] / "pyproject.toml").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("serving = [") and "config" in line]
    patterns = re.findall(r'"([^"]+)"', line)
    folder = CONFIG.parent
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert files == {str(p.relative_to(folder)) for pattern in patterns for p in folder.glob(pattern)}


def test_models_config() -> None:
    (model,) = read_models(read_model_config_file(str(CONFIG / "models.config")))
    assert (model.name, model.base_path, model.policy.kind, model.policy.count) == ("bcl", "/models/bcl", "latest", 2)


def test_batching_and_ssl_config() -> None:
    parameters = read_batch_parameters(str(CONFIG / "batching.config"))
    assert parameters.pad_variable_length_inputs and parameters.max_batch_size == 256
    ssl = read_text_proto(str(CONFIG / "ssl.config.example"), "SSLConfig")
    assert ssl.client_verify and ssl.server_cert.startswith("-----BEGIN CERTIFICATE-----\n")


def test_compose_passes_flags_that_the_embedded_server_knows_too() -> None:
    service = yaml.safe_load((CONFIG.parent / "compose.yaml").read_text())["services"]["serving"]
    flags = parse_flags([*service["entrypoint"][1:], *service["command"]])
    assert (flags.port, flags.rest_api_port, flags.enable_batching) == (8500, 8501, True)
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "./config:/config:ro" in service["volumes"]
    for path in (flags.model_config_file, flags.batching_parameters_file, flags.monitoring_config_file):
        assert (CONFIG / Path(path).name).is_file()


def test_the_smoke_checks_pass_on_the_shipped_configuration(saved_model: Path, tmp_path: Path, capsys: Any) -> None:
    small_model.publish(saved_model, tmp_path / "bcl", 1)
    models = tmp_path / "models.config"
    models.write_text((CONFIG / "models.config").read_text().replace("/models/bcl", str(tmp_path / "bcl")))
    with EmbeddedServer(
        port=0,
        rest_api_port=-1,
        model_config_file=str(models),
        enable_batching=True,
        batching_parameters_file=str(CONFIG / "batching.config"),
        monitoring_config_file=str(CONFIG / "monitoring.config"),
        enable_grpc_healthcheck_service=True,
    ) as server:
        with Client(server.target) as client:
            client.status()
            # More songs than the configured batch may have: the client sends them in parts.
            assert client.embed([{}] * 600).shape == (600, 4)
        smoke.check(server.target, f"http://127.0.0.1:{server.rest_port}")
    assert "available: version 1" in capsys.readouterr().out


def test_the_smoke_test_names_what_is_missing(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert smoke.main([]) == 2
    assert capsys.readouterr().err.startswith("usage: make serve-smoke MODEL_DIR=folder")
    monkeypatch.setenv("PATH", str(tmp_path))
    text = "The smoke test runs the real TensorFlow Serving: expected Docker. Received: "
    assert smoke.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{text}no `docker` command.\n"
    docker = tmp_path / "docker"
    for script, lacks in (
        ("exit 1", "its compose plugin (`docker compose version` failed)"),
        ('[ "$1" = compose ]', "a daemon that answers (`docker info` failed)"),
    ):
        docker.write_text(f"#!/bin/sh\n{script}\n")
        docker.chmod(0o755)
        assert smoke.main([str(tmp_path)]) == 2
        assert capsys.readouterr().err == f"{text}{docker} without {lacks}.\n"
    docker.write_text("#!/bin/sh\n")
    assert smoke.main([str(tmp_path)]) == 2
    assert "`MODEL_DIR` must hold version folders such as 1/. Received: " in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"`MODEL_DIR` must hold version folders such as 1/. Received: "):
        smoke.check_model_dir(str(tmp_path))
    (tmp_path / "1").mkdir()
    assert smoke.check_model_dir(str(tmp_path)) == str(tmp_path)


# ---- The dashboard.

PROMTOOL = shutil.which("promtool")


def queries() -> list[str]:
    panels = json.loads((CONFIG / "grafana.json").read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_query_of_the_dashboard_fits_the_type_of_its_metrics(saved_model: Path, tmp_path: Path) -> None:
    small_model.publish(saved_model, tmp_path / "bcl", 1)
    settings: dict[str, Any] = {"model_name": "bcl", "model_base_path": str(tmp_path / "bcl"), "enable_batching": True}
    monitoring = str(CONFIG / "monitoring.config")
    with EmbeddedServer(port=0, rest_api_port=-1, monitoring_config_file=monitoring, **settings) as server:
        with Client(server.target) as client:
            client.embed({})
        url = f"http://127.0.0.1:{server.rest_port}/monitoring/prometheus/metrics"
        with urllib.request.urlopen(url) as page:
            lines = page.read().decode().splitlines()
    types = dict(line.split()[2:] for line in lines if line.startswith("# TYPE "))
    seen = set()
    for query in queries():
        for name in re.findall(r"(?<![\w:]):?(?:tensorflow|serving|process)[:_][\w:]+", query):
            family = name if name in types else re.sub("_(bucket|sum|count)$", "", name)
            seen.add(family)
            is_rate = f"rate({name}[" in query
            # A sum by a count of the same histogram is a mean.
            is_mean = types[family] == "histogram" and name.endswith(("_sum", "_count")) and " / " in query
            assert is_mean or is_rate == (types[family] in ("counter", "histogram")), query
    assert len(seen) >= 9


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:query{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules)} rules found" in done.stdout

"""Every line of docs/how-to/ask-over-rest.md, run by a shell against the embedded server on a real export."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_export

from serving.server import EmbeddedServer
from serving.server.flags import parse_flags

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "ask-over-rest.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
LINES = [text for kind, text in BLOCKS if kind == "bash"]
#: The page's address.
ADDRESS = "localhost:8501"
CURL = shutil.which("curl")
needs_curl = pytest.mark.skipif(CURL is None, reason="needs the command curl")


def body_of(line: str) -> Any:
    """Returns what the line sends, None where it sends nothing."""
    words = shlex.split(line)
    return json.loads(words[words.index("-d") + 1]) if "-d" in words else None


ASKED = [line for line in LINES if body_of(line)]
#: By the page, the line that gets an error, and the one that TensorFlow Serving takes, too.
(REFUSED,) = (line for line in ASKED if '"attribute_tags": "live"' in line)
(PORTABLE,) = (line for line in ASKED if "NaN" in line)


@pytest.fixture(scope="module")
def exported() -> small_export.SmallExport:
    return small_export.SmallExport(small_export.catalogue(30))


@pytest.fixture(scope="module")
def base(exported: small_export.SmallExport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.export(tmp_path_factory.mktemp("page") / "bcl" / "1").parent


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base)) as running:
        yield running


def run(line: str, server: EmbeddedServer) -> Any:
    assert line.startswith(f"curl -s http://{ADDRESS}/")
    command = line.replace(ADDRESS, f"127.0.0.1:{server.rest_port}")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def songs_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the body's songs with the fields that they have."""
    rows = body.get("instances") or rows_of(body["inputs"])
    return [{name: value for name, value in row.items() if not is_missing(value)} for row in rows]


def rows_of(columns: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def is_missing(value: Any) -> bool:
    return value in (None, "") or any(
        isinstance(part, float) and math.isnan(part) for part in (value if isinstance(value, list) else [value])
    )


def expected_matches(exported: small_export.SmallExport, song: dict[str, Any]) -> tuple[list[str], list[float]]:
    """Returns the expected matches, computed in numpy."""
    scores = (exported.embed([song]) @ exported.index.T)[0]
    rows = [row for row in np.argsort(-scores) if exported.ids[row] != song.get("exclude")][: song["k"]]
    return [exported.ids[row] for row in rows], scores[rows].tolist()


def test_the_page_has_a_line_for_each_question() -> None:
    assert len(LINES) == 8 and len(ASKED) == 6
    assert {body_of(line)["signature_name"] for line in ASKED} == {"embed", "match"}
    assert any("inputs" in body_of(line) for line in ASKED)


def test_the_server_takes_the_flags_of_the_page() -> None:
    (line,) = (text for kind, text in BLOCKS if kind == "text")
    words = shlex.split(line)
    assert words[:3] == [".venv/bin/python", "-m", "serving.server"]
    flags = parse_flags(words[3:])
    assert (flags.rest_api_port, flags.port, flags.model_name) == (8501, 8500, "bcl")
    assert not flags.rest_api_strict and "--rest_api_strict" in PAGE


@needs_curl
def test_status_and_fields(server: EmbeddedServer) -> None:
    status, metadata = (run(line, server) for line in LINES if line not in ASKED)
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    inputs = metadata["metadata"]["signature_def"]["signature_def"]["match"]["inputs"]
    assert set(inputs) == {field.name for field in small_export.FIELDS} | {"k", "exclude"}


@needs_curl
@pytest.mark.parametrize("line", [line for line in ASKED if line != REFUSED], ids=range(len(ASKED) - 1))
def test_answers_are_right(server: EmbeddedServer, exported: small_export.SmallExport, line: str) -> None:
    body, reply = body_of(line), run(line, server)
    songs = songs_of(body)
    rows = rows_of(reply["outputs"]) if "inputs" in body else reply["predictions"]
    assert len(rows) == len(songs)
    for song, row in zip(songs, rows, strict=True):
        if body["signature_name"] == "embed":
            np.testing.assert_allclose(row["embedding"], exported.embed([song])[0], atol=1e-5)
        else:
            ids, scores = expected_matches(exported, song)
            assert row["song_ids"] == ids
            np.testing.assert_allclose(row["scores"], scores, atol=1e-5)


@needs_curl
def test_the_error_is_that_of_the_page(server: EmbeddedServer) -> None:
    (shown,) = (json.loads(text) for kind, text in BLOCKS if kind == "json")
    assert run(REFUSED, server) == shown


@needs_curl
def test_a_strict_server_takes_the_line_for_tensorflow_serving_alone(base: Path, server: EmbeddedServer) -> None:
    with EmbeddedServer(
        port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base), rest_api_strict=True
    ) as strict:
        assert run(PORTABLE, strict) == run(PORTABLE, server)
        for line in ASKED:
            assert ("error" in run(line, strict)) == (line != PORTABLE)

"""The lines that docs/reference/outputs.md shows, run as they stand."""

from __future__ import annotations

import re

import pytest

from tests.tfx_pipeline.outputs.small_result import SETTINGS, USERS, small_result
from tests.tfx_pipeline.outputs.test_schemas import DOCUMENT
from tfx_pipeline.outputs.publishing import publish


def lines_of(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return block


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder in which RUN is a run."""
    folder, result = small_result(tmp_path)
    publish(folder, result, SETTINGS)
    (tmp_path / "RUN").symlink_to(folder.home)
    monkeypatch.chdir(tmp_path)


def test_the_lines_of_pandas(here):
    found: dict = {}
    exec(lines_of("python"), found)
    assert found["best"]["user_id"].tolist() == [USERS[0], USERS[2]]
    assert len(found["pairs"]) == 5
    assert found["pairs"]["match_titles"].tolist()[:2] == ["First\nline", "B"]
    of_first = {"attribute_genre": 0.75, "numbers": 0.25, "rest": -0.1}
    assert found["shares"].loc[("n1", "w1")].to_dict() == pytest.approx(of_first)
    assert len(found["shares"]) == 2


def test_the_lines_of_duckdb(here):
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed; this project does not need it")
    best, pairs = (duckdb.sql(query).fetchall() for query in lines_of("sql").split(";") if query.strip())
    assert [(row[0], row[2]) for row in best] == [("n1", USERS[0]), ("n1", USERS[2])]
    assert ("v1", "w2", 0.75, None) in pairs and len(pairs) == 5

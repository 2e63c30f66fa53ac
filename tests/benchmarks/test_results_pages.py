"""The tables of docs/results: current, complete, and written as a reader expects figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results_pages
from benchmarks.quality.results import PROTOCOL
from benchmarks.quality.slices import LONG_TAIL
from benchmarks.quality.tasks import DAY_ZERO, LISTENERS, SIMILAR_20
from benchmarks.result_tables import markdown

FILES = sorted(results_pages.RESULTS.glob("*.json"))


def test_the_pages_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert results_pages.main(["--check"]) == 0, capsys.readouterr().out
    shown = "".join(page.read_text() for page in results_pages.PAGES.glob("*.md"))
    unused = [file.stem for file in FILES if f"<!-- table: {file.stem}" not in shown]
    assert unused == []


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_kept_result_says_where_it_is_from(file: Path) -> None:
    result = json.loads(file.read_text())
    assert set(result) <= {"source", "columns", "views", "rows"}
    assert {"figures", "command", "commit", "hardware"} <= set(result["source"])
    assert result["source"]["command"] or result["source"]["note"]
    assert file.read_text() == results_pages.dumped(result)


def test_figures_have_one_form() -> None:
    columns = {
        "row": "text",
        "interval": "interval",
        "difference": "difference",
        "with p": "difference and p",
        "p": "p",
        "count": "count",
        "once": "once",
    }
    row = ["best", [0.452, 0.44, 1], [0.163, 0.145, -0.02], [-0.965, 1.1e-05], 0.54, 4749, "same"]
    empty = ["none", None, None, None, None, None, "same"]
    assert markdown({"columns": columns, "rows": [row, empty]}) == [
        "| row | interval | difference | with p | p | count | once |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| best | .452 [.440, 1] | +16.3 % [14.5, -2.0] | -96.5 %, p 1.1e-05 | .54 | 4,749 | same |",
        "| none |  |  |  |  |  |  |",
    ]


def test_a_view_has_its_rows_in_its_order() -> None:
    result = {"columns": {"row": "text"}, "rows": [["a"], ["b"], ["c"]], "views": {"short": ["c", "a"], "bad": ["d"]}}
    assert markdown(result, "short")[2:] == ["| c |", "| a |"]
    for view in ("bad", "other"):
        with pytest.raises(ValueError, match=f"view '{view}': expected rows of the table"):
            markdown(result, view)
    with pytest.raises(ValueError, match="expected 1 values each"):
        markdown({"columns": {"row": "text"}, "rows": [["a", 1]]})


def test_only_what_is_between_markers_changes(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps({"columns": {"row": "text"}, "rows": [["a"]]}))
    page = "before\n<!-- table: one -->\nold\n<!-- end of table -->\nafter\n"
    new = "before\n<!-- table: one -->\n\n| row |\n| --- |\n| a |\n\n<!-- end of table -->\nafter\n"
    assert results_pages.with_tables(page, tmp_path, "page.md") == new
    assert results_pages.with_tables(new, tmp_path, "page.md") == new
    with pytest.raises(ValueError, match=r"page\.md: expected a file two\.json"):
        results_pages.with_tables(page.replace("one", "two"), tmp_path, "page.md")
    with pytest.raises(ValueError, match="end of table"):
        results_pages.with_tables(page + "<!-- table: one -->\n", tmp_path, "page.md")


def planted_study() -> dict[str, Any]:
    """Results of two rows, as `benchmarks.quality.results` gives them, with what a table shows."""

    def table(*recalls: float, graded: bool = False) -> dict[str, dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}
        for name, recall in zip(("kernel ridge", "BCL"), recalls, strict=True):
            interval = {"value": recall, "low": recall - 0.0101, "high": recall + 0.0101}
            metrics = dict.fromkeys(("recall@50", "recall@100"), interval)
            metrics["ndcg@100"] = {**interval, "value": recall / 2}
            metrics["graded ndcg@50" if graded else "recovered@100"] = {**interval, "value": 10 * recall}
            rows[name] = {"metrics": metrics}
        rows["BCL"]["against"] = {"value": recalls[1] - recalls[0], "low": 0.0, "high": 0.2, "p": 0.01234}
        return rows

    return {
        "data": "planted",
        "protocol": PROTOCOL,
        "made from": {"commits": ["abc1234"], "data": ["00ff"]},
        "reference": "kernel ridge",
        "tasks": {SIMILAR_20: table(0.4, 0.5, graded=True), DAY_ZERO: table(0.1, 0.2), LISTENERS: table(0.6, 0.75)},
        "slices": {SIMILAR_20: {LONG_TAIL: table(0.3, 0.31)}, LISTENERS: {}},
        "ceiling": {
            "split half": 0.25,
            "lower": 0.5,
            "estimate": 0.632,
            "upper": 0.7,
            "one listener": 0.4,
            "slices": {},
        },
    }


def test_a_study_is_kept_with_its_source(tmp_path: Path) -> None:
    source = {"command": "a command", "hardware": "2 cores"}
    file = tmp_path / "similar-songs-planted.json"
    file.write_text(json.dumps({"views": {"short": ["BCL"]}}))
    results_pages.keep([planted_study()], source, tmp_path)
    kept = json.loads(file.read_text())
    assert kept["source"] == {"figures": "similar songs, planted", **source, "commit": "abc1234", "note": "data 00ff"}
    shown = markdown(kept, "short")[2]
    assert shown.startswith("| BCL | .750 [.740, .760] | .375 | 7.50 | .500 [.490, .510] | 5 | .200 | .310 |")
    assert shown.endswith("| +25.0 %, p 0.012 | +25.0 %, p 0.012 |")
    ceiling = json.loads((tmp_path / "ceiling.json").read_text())
    assert markdown(ceiling)[2] == "| planted | .250 | .632 | .5, .7 | .400 |"


@pytest.mark.parametrize("change", [{"protocol": 1}, {"made from": {"commits": ["abc1234+"], "data": ["00ff"]}}])
def test_results_of_another_protocol_or_of_no_commit_are_not_kept(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"planted: expected results of .*\. Received: (1|abc1234\+)"):
        results_pages.keep([{**planted_study(), **change}], {"command": "c", "hardware": "h"}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_keeping_needs_a_command_and_hardware(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        results_pages.main(["--keep", str(tmp_path / "results.json")])

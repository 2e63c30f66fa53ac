"""The tables of docs/results: current, complete, and written as a reader expects figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import results_pages
from benchmarks.quality.kept import kept_table
from benchmarks.quality.tasks import DAY_ZERO, LISTENERS, LONG_TAIL, SIMILAR_20
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


def test_a_study_is_kept_with_its_source(tmp_path: Path) -> None:
    def metrics(recall: float) -> dict[str, object]:
        interval = {"value": recall, "low": recall - 0.0101, "high": recall + 0.0101}
        return {"recall@50": interval, "ndcg@50": {"value": recall / 2}}

    def task(*recalls: float) -> dict[str, dict[str, object]]:
        return {name: {"metrics": metrics(r)} for name, r in zip(("kernel ridge", "BCL"), recalls, strict=True)}

    main = task(0.4, 0.5)
    main["BCL"]["against"] = {"kernel ridge": {"value": 0.1, "p": 0.01234}}
    tail = {"kernel ridge": {"value": 0.3}, "BCL": {"value": 0.31}}
    study = {
        "data": "planted",
        "tasks": {SIMILAR_20: main, DAY_ZERO: task(0.1, 0.2), LISTENERS: task(0.6, 0.7)},
        "slices": {LONG_TAIL: tail},
    }
    source = {"command": "a command", "commit": "abc1234", "hardware": "2 cores"}
    file = tmp_path / "similar-songs-planted.json"
    file.write_text(json.dumps({"views": {"short": ["BCL"]}}))
    results_pages.keep([study], source, tmp_path)
    kept = json.loads(file.read_text())
    assert kept["source"] == {"figures": "similar songs, planted", **source}
    assert markdown(kept, "short")[2:] == ["| BCL | .500 [.490, .510] | .250 | .200 | .310 | .700 | +25.0 %, p 0.012 |"]
    without = {"data": "planted", "tasks": {SIMILAR_20: {"BCL": main["BCL"]}}, "slices": {}}
    assert list(kept_table(without)["columns"]) == ["row", "R@50", "NDCG@50"]
    with pytest.raises(SystemExit):
        results_pages.main(["--keep", str(file)])

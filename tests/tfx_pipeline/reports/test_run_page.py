"""The page of a run whose model was refused; that of a good run is in test_whole_path.py."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from tensorflow_data_validation.statistics import stats_impl

from tfx_pipeline.reports.engine import Engine, where_it_ran
from tfx_pipeline.reports.run_page.input_tables import columns
from tfx_pipeline.reports.run_page.losses_table import losses_table
from tfx_pipeline.reports.run_page.new_songs import Example
from tfx_pipeline.reports.run_page.page import page

#: What every page has, here with nothing in it.
PLAIN: dict[str, Any] = {
    "songs": (0, []),
    "plays": (0, []),
    "data_report": "",
    "learnt": {"history": {}},
    "pushed": "serving/7",
}


def test_a_refused_model_and_strange_names() -> None:
    songs = pa.RecordBatch.from_pydict(
        {"attribute_<b>": pa.array([["rock & roll"], None, ["jazz"]]), "audio_x": pa.array([[1.0], [3.0], None])}
    )
    rows, found = columns(stats_impl.generate_statistics_in_memory(songs))
    assert rows == 3 and [round(column.present, 2) for column in found] == [0.67, 0.67]
    estimate = {"mean": 0.5, "low": 0.4, "high": 0.6}
    evaluation = {
        "refused_because": ["recall@50: expected over 0.6000 (judged model of the last push 0.6000). Received: 0.5000"],
        "val": {
            "songs": 7,
            "candidates": 9,
            "rows": {"model": {"recall@50": estimate}},
            "slices": {"long tail": {"model": estimate}},
        },
    }
    shown = page(
        songs=(rows, found),
        plays=(0, []),
        data_report="noted: songs, column `a<b`",
        learnt={
            "history": {"loss": [2.0, 1.0]},
            "fields": ["a", "b"],
            "settings": {"momentum": 0.9, "hidden_dims": [8]},
        },
        evaluation=evaluation,
        pushed=None,
        serving_problem="INTERNAL: <no answer>",
        examples=[Example("A <song>", [("match & more", 0.25)], [(1.5, ["match & more"])])],
    )
    assert "<li>when it was served: INTERNAL: &lt;no answer&gt;</li>" in shown
    assert "Not pushed:" in shown and "(judged model of the last push 0.6000)" in shown
    assert "attribute_&lt;b&gt;" in shown and "rock &amp; roll (1)" in shown and "A &lt;song&gt;" in shown
    assert "1 to 3, mean 2, deviation 1" in shown and "0.500 [0.400, 0.600]" in shown
    assert "<td>momentum</td><td>0.9</td>" in shown and "<td>hidden_dims</td><td>8</td>" in shown
    assert "<li>plays <bdi>match &amp; more</bdi> <small>1.500</small></li>" in shown
    assert "<b>" not in shown and "Correlation of the fields" not in shown
    assert "What is served" not in shown


def test_the_judged_and_the_served_model() -> None:
    served: dict[str, Any] = {
        "refit": "train",
        "refused_because": ["served model: expected to share at least 0.50 of <all>. Received: 0.12"],
        "judged": {
            "songs_in_index": 1480,
            "held_out": {"val": 190, "test": 230},
            "measured": {"test": {"recall@50": 0.7125, "mrr": 0.5}},
        },
        "served": {"songs_in_index": 1900},
        "overlap": {
            "k": 50,
            "songs": 1234,
            "mean": 0.125,
            "by_split": {"new": 0.25, "val": 0.0625},
            "by_chance": 0.034,
            "least": 0.5,
        },
    }
    plain: dict[str, Any] = {
        "songs": (0, []),
        "plays": (0, []),
        "data_report": "",
        "learnt": {"history": {}},
        "pushed": None,
    }
    shown = page(**plain, evaluation={"refused_because": []}, examples=[], served=served)
    assert "<li>served model: expected to share at least 0.50 of &lt;all&gt;. Received: 0.12</li>" in shown
    for cell in ("1,480", "190 val, 230 test", "recall@50 0.713, mrr 0.500", "1,900", "0.125 of 1,234 songs"):
        assert f"<td>{cell}</td>" in shown
    assert "new 0.250, val 0.062" in shown and "0.500 (by chance 0.034)" in shown
    alone = {**served, "refit": "index", "overlap": None, "refused_because": []}
    shown = page(**plain | {"pushed": "serving/7"}, evaluation={}, examples=[], served=alone)
    assert "It is the judged model." in shown and "by chance" not in shown


def test_weights_have_names_and_scores_a_meaning() -> None:
    plain: dict[str, Any] = {
        "songs": (0, []),
        "plays": (0, []),
        "data_report": "",
        "pushed": "serving/7",
        "evaluation": {},
    }

    def shown(weights: list[float], **more: Any) -> str:
        joined: dict[str, Any] = {"weights": weights, "validation_recall": 0.5, "alone": [0.5, 0.25]}
        return page(**plain, **{"examples": [], **more}, learnt={"history": {}, "joined": joined})

    both = shown([1.0, 0.25])
    assert "<td>weights</td><td>closed form 1, towers 0.25</td>" in both and "serves alone" not in both
    assert "<td>alone</td><td>closed form 0.5, towers 0.25</td>" in both
    alone = shown([1.0, 0.0])
    assert "<td>weights</td><td>closed form 1, towers 0</td>" in alone
    assert "The towers have weight 0: the closed form serves alone." in alone
    assert "New songs" not in alone
    three = shown([1.0, 0.0, 0.5])
    assert "<td>weights</td><td>closed form 1, towers 0, plain content 0.5</td>" in three
    assert "The towers have weight 0: the closed form and plain content serve." in three
    says = shown([1.0, 1.0], unknown_songs=1234, target_scores="A score is <b>.")
    assert "The model knows no value of 1,234 songs: they have no matches and no listeners." in says
    assert "between -1 and 1" in says and "A score is &lt;b&gt;." in says
    nothing_chosen: dict[str, Any] = {"weights": [1.0, 1.0], "validation_recall": None, "alone": []}
    nothing = page(**plain, examples=[], learnt={"history": {}, "joined": nothing_chosen})
    assert "<td>alone</td><td></td>" in nothing


def test_the_table_of_losses_has_a_row_for_each_epoch() -> None:
    shown = losses_table({"loss": [2.0, 1.03125], "val_loss": [2.5, 1.5]})
    assert "<th>epoch</th><th>loss</th><th>val_loss</th>" in shown
    assert "<td>1</td><td>2.0000</td><td>2.5000</td>" in shown
    assert "<td>2</td><td>1.0312</td><td>1.5000</td>" in shown
    assert "<td>" not in losses_table({})


def test_the_reliability_of_matches() -> None:
    fifths = [{"songs": 24, "reliability": part / 10, "recall": part / 8} for part in range(1, 6)]
    of_test: dict[str, Any] = {
        "songs": 1200,
        "rho": 0.625,
        "low": 0.5,
        "high": 0.75,
        "rho_of_best_score": 0.375,
        "fifths": fifths,
    }
    report: dict[str, Any] = {"validation_songs": 118, "fitted": {"k": 20}, "test": of_test}

    def shown(**changes: Any) -> str:
        return page(**PLAIN, evaluation={"reliability": report | changes}, examples=[])

    assert "118 validation songs" in shown() and "the recall@20 to expect" in shown()
    assert "rho with the recall of 1,200 test songs: 0.625 [0.500, 0.750]; of the best score alone 0.375." in shown()
    assert "<td>24</td><td>0.500</td><td>0.625</td>" in shown()
    alike = shown(test=of_test | {"rho": None, "low": None, "high": None, "rho_of_best_score": None})
    assert "songs: none, as all have the same recall or the same reliability." in alike
    assert "Not estimated: 118 validation songs are too few." in shown(fitted=None)
    assert "Reliability" not in page(**PLAIN, evaluation={}, examples=[])


def test_the_chances_of_matches() -> None:
    first = [{"matches": 10, "calibration_error": 0.0125, "chance": 0.25, "right": 0.375}]
    examples = [Example("new", [("a", 0.5), ("b", 0.25)], [], [(0.75, 0.5, 1.0), (0.125, 0.0, 0.25)])]

    def shown(test: dict[str, Any] | None) -> str:
        return page(
            **PLAIN, evaluation={"chances": {"validation_songs": 49, "needed": 50, "test": test}}, examples=examples
        )

    judged = shown({"songs": 1200, "first": first})
    assert "of 1,200 test songs" in judged
    assert "<td>10</td><td>0.013</td><td>0.250</td><td>0.375</td>" in judged
    assert "<small>0.500, chance 0.75 [0.50, 1.00]</small>" in judged
    assert "<small>0.250, chance 0.12 [0.00, 0.25]</small>" in judged
    assert "None. They need 50 validation songs" in shown(None) and "there are 49" in shown(None)
    assert "Chances of matches" not in page(**PLAIN, evaluation={}, examples=[])


def test_the_page_says_which_steps_no_engine_ran() -> None:
    shown = where_it_ran(Engine("<Flink> at host:1", ("Transform", "SongGen"), ("Trainer",)))
    assert shown == (
        "<p>On &lt;Flink&gt; at host:1: Transform, SongGen</p>"
        "<p>In the process that started the run, not on the engine: Trainer</p>"
    )
    assert where_it_ran(Engine("Flink", ("SongGen",), ())) == "<p>On Flink: SongGen</p>"

"""One run in detail, and runs side by side, on records that ML Metadata itself wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from tests.tfx_pipeline.history.recorded_nights import Nights
from tfx_pipeline.runs import main
from tfx_pipeline.runtime.run_folder import RunFolder


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(RunFolder.at(tmp_path / "run"))


def bless(nights: Nights, run: int, component: str, file: str, content: str, *, blessed: bool) -> None:
    artifact = nights.give(run, component, "blessing", "ModelBlessing", file, content)
    artifact.custom_properties["blessed"].int_value = int(blessed)
    nights.store.put_artifacts([artifact])


def judge(nights: Nights, run: int, *, mean: float, refused: list[str]) -> None:
    """Writes a report as the evaluation does, with two baselines, one of which has no interval."""
    rows = {
        "model": {"recall@20": {"mean": mean, "low": mean - 0.05, "high": mean + 0.05}, "mrr": {"mean": 0.9}},
        "content cosine": {"recall@20": {"mean": 0.125}},
    }
    report = {"settings": {"k": 20}, "refused_because": refused, "val": {"rows": rows}, "test": {"rows": rows}}
    nights.give(run, "RetrievalEvaluator", "evaluation", "ModelEvaluation", "report.json", json.dumps(report))
    bless(nights, run, "RetrievalEvaluator", "BLESSED", "", blessed=not refused)


def publish(nights: Nights, run: int, songs: int, **settings: object) -> None:
    out = nights.folder.history / nights.names[run].replace(":", "-")
    out.mkdir(parents=True)
    manifest = {
        "tfx_run_id": nights.names[run],
        "settings": {"model": settings, "refit": "off"},
        "counts": {"input": {"songs": songs, "users": 7, "plays": 1_234_567}},
    }
    (out / "manifest.json").write_text(json.dumps(manifest))


def shown(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert main(list(command)) == 0
    return capsys.readouterr().out


def test_runs_side_by_side(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(nights.folder.home)
    first, _ = nights.add("pushed"), nights.add("refused")
    nights.add("stopped")
    judge(nights, 0, mean=0.4, refused=[])
    bless(nights, 0, "ServingValidator", "INFRA_BLESSED", "", blessed=True)
    judge(nights, 1, mean=0.3, refused=["recall@20: worse than last night, by 0.1 «漢»"])
    publish(nights, 0, 1000, epochs=3, seed=0)
    publish(nights, 1, 1001, epochs=5, seed=0)

    table = shown(capsys, "compare", run, first, nights.names[1], "last")
    cells = {name: rest for name, *rest in (re.split("  +", line) for line in table.splitlines())}
    assert cells["run"] == nights.names and cells["outcome"] == ["pushed", "refused", "refused"]
    assert cells["version"] == [f"{first} *"]
    assert cells["songs"] == ["1,000", "1,001"] and cells["plays"] == ["1,234,567"] * 2
    assert cells["recall@20, test songs, model"] == ["0.400 [0.350, 0.450]", "0.300 [0.250, 0.350]"]
    assert cells["recall@20, test songs, content cosine"] == ["0.125", "0.125"]
    assert cells["RetrievalEvaluator"] == ["passed", "refused", "not reached"]
    assert cells["ServingValidator"] == ["passed", "not reached", "not reached"]
    assert cells["DataGate"] == ["not reached", "not reached", "refused"]
    assert cells["model.epochs"] == ["3", "5"] and "model.seed" not in table and "refit" not in table

    found = json.loads(shown(capsys, "compare", run, "--json"))  # the served run and the last one
    assert [one["run_id"] for one in found["runs"]] == [nights.names[0], nights.names[2]]
    assert found["runs"][0]["served"] and found["runs"][0]["model_version"] == first
    assert found["runs"][0]["recall"]["val"]["model"] == pytest.approx({"mean": 0.4, "low": 0.35, "high": 0.45})
    assert found["runs"][1]["recall"] == {} and found["runs"][1]["settings"] is None
    assert found["runs"][1]["gates"]["DataGate"]["decision"] == "refused"
    assert found["differing_settings"] == {}  # what is not known does not differ


def test_one_run(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(nights.folder.home)
    nights.add("pushed")
    nights.add("refused")
    judge(nights, 1, mean=0.3, refused=["worse", "and slower"])
    bless(nights, 1, "ServingValidator", "INFRA_NOT_BLESSED", "it does not answer", blessed=False)
    bless(nights, 1, "ServedModelChecker", "served.json", '{"refused_because": ["a song is missing"]}', blessed=False)
    nights.add("killed")
    text = shown(capsys, "show", run, nights.names[1][:10])
    lines = ["RetrievalEvaluator: worse", "RetrievalEvaluator: and slower", "ServedModelChecker: a song is missing"]
    assert text.endswith("".join(f"  {line}\n" for line in [*lines, "ServingValidator: it does not answer"]))
    found = json.loads(shown(capsys, "show", run, "--json"))
    assert found["run_id"] == nights.names[2] and found["outcome"] == "failed"
    assert [(step["name"], step["state"]) for step in found["steps"]][-1] == ("Transform", "stopped")
    assert found["gates"] == {} and found["measure"] is None


def test_a_pruned_run_keeps_its_line(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(nights.folder.home)
    nights.add("pushed")
    judge(nights, 0, mean=0.4, refused=[])
    nights.add("pushed")
    nights.add("pushed")
    assert main(["prune", run, "--keep", "1"]) == 0
    capsys.readouterr()
    deleted = metadata_store_pb2.Artifact.DELETED
    assert deleted in nights.states().values()
    found = json.loads(shown(capsys, "show", run, nights.names[0], "--json"))
    assert found["recall"] == {} and found["gates"]["RetrievalEvaluator"] == {"decision": "passed", "reasons": []}


def test_a_name_that_means_no_run_or_several(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(nights.folder.home)
    for wanted, received in (("last", "a folder in which none has begun"), ("served", "a folder in which")):
        assert main(["show", run, wanted]) == 2
        assert received in capsys.readouterr().err
    nights.add("refused")
    nights.add("refused")
    for wanted, received in (
        ("2026-11", f"2 runs, such as {nights.names[0]} and {nights.names[1]}"),
        ("served", "Received: none"),
        ("17", "Received: none"),
        ("", "Received: none"),
    ):
        assert main(["compare", run, "last", wanted]) == 2
        told = capsys.readouterr()
        assert received in told.err and told.err.count("\n") == 1 and told.out == ""

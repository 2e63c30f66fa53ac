"""From plays to target listeners in one run, asked as TensorFlow Serving would ask."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from tfx import v1 as tfx

from bcl_keras.evaluation.choices import best_rows, is_better
from serving.client import Client
from serving.refresh.saved_version import SavedVersion
from serving.refresh.takedown import record_taken_down
from serving.server import EmbeddedServer
from tests.tfx_pipeline.conftest import SmallRun, refused, run_small
from tests.vector_lengths import LENGTHS
from tfx_pipeline import ask, contract, local_runner
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.contract.splits import NEW, SPLITS, TEST, VALIDATION, WARM
from tfx_pipeline.evaluation.component import REPORT, last_judged
from tfx_pipeline.evaluation.reliability import FEWEST_SONGS
from tfx_pipeline.history.run_record import RunRecord
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.labels.similar_songs import FindSimilarSongs
from tfx_pipeline.models import features
from tfx_pipeline.models.model_config import SearchSpace, TuningConfig
from tfx_pipeline.models.step_settings import TunerSettings
from tfx_pipeline.models.trainer import with_tuned
from tfx_pipeline.models.training_songs import read_songs, similar_pairs
from tfx_pipeline.models.tuner import tuner_fn
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.reports.demo_report import DemoReport
from tfx_pipeline.runtime.run_folder import RunFolder
from tfx_pipeline.targeting import read_summary, read_targets
from tfx_pipeline.targeting.beam.count_weight import WEIGHTS
from tfx_pipeline.tfx_extensions.artifacts import EXTRA, LEARNT, PAGE, SERVED, read_learnt
from tfx_pipeline.tfx_extensions.components import custom_config


@pytest.fixture(scope="module")
def record(small_run: SmallRun) -> RunRecord:
    return RunRecord.latest(RunRecords.of(small_run.folder))


@pytest.fixture(scope="module")
def saved_model(record: RunRecord) -> Path:
    return Path(record.text("Pusher", "pushed_model", "pushed_destination"))


def ignored(line: str) -> None:
    """Takes the line of a component."""


def labelled(record: RunRecord, by: str = "SimilarSongsLabeller") -> dict[str, dict[str, tf.train.Example]]:
    uri = record.uri(by, "labelled_songs")
    found: dict[str, dict[str, tf.train.Example]] = {}
    for split in SPLITS:
        files = sorted(glob.glob(str(uri / f"Split-{split}" / "*.gz")))
        assert files, f"split {split} has no file"
        examples = [
            tf.train.Example.FromString(record)
            for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
        ]
        found[split] = {e.features.feature["song_id"].bytes_list.value[0].decode(): e for e in examples}
    return found


def stored(record: RunRecord, table: str, song_id: str | None = None) -> pa.Table:
    """A table of the catalogue's embeddings by the served model, or one song's rows of it."""
    files = sorted(glob.glob(str(record.uri("ServedEmbedder", "embeddings") / f"{table}-*")))
    return pq.read_table(files[0], filters=song_id and [("song_id", "=", song_id)])


class Session:
    """The SavedModel as TensorFlow Serving loads it: a graph and a session, no Python of ours."""

    def __init__(self, path: Path) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        self.signatures = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path)).signature_def

    def __call__(self, signature: str, **inputs: object) -> dict[str, np.ndarray]:
        definition = self.signatures[signature]
        fetches = {name: info.name for name, info in definition.outputs.items()}
        return self._session.run(fetches, {definition.inputs[name].name: value for name, value in inputs.items()})

    def operations(self) -> set[str]:
        graph = self._session.graph_def
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        return {node.op for node in nodes if node.op not in {f.signature.name for f in graph.library.function}}


def raw_inputs(fields, rows: list[dict]) -> dict[str, np.ndarray]:
    """The named inputs of `embed` for rows of songs.parquet, written out here from the documented shapes."""
    inputs = {}
    for field in fields:
        values = [row[field.name] for row in rows]
        if field.kind == "category":
            inputs[field.name] = np.array([value or "" for value in values], dtype=object)
        elif field.kind == "multi_category":
            width = max(1, *(len(value or []) for value in values))
            inputs[field.name] = np.array([[*(v or []), *[""] * (width - len(v or []))] for v in values], dtype=object)
        elif field.kind == "number":
            inputs[field.name] = np.array([np.nan if value is None else value for value in values], np.float32)
        else:
            empty = [np.nan] * field.length
            inputs[field.name] = np.array([empty if value is None else value for value in values], np.float32)
    return inputs


def test_every_song_is_in_one_split_and_labels_name_warm_songs_only(small_run, record):
    by_split = labelled(record)
    ids = [song for songs in by_split.values() for song in songs]
    assert sorted(ids) == sorted(pq.read_table(small_run.data / "songs.parquet")["song_id"].to_pylist())
    warm = set(by_split[WARM])
    for songs in by_split.values():
        for example in songs.values():
            similar = {s.decode() for s in example.features.feature[features.SIMILAR_IDS].bytes_list.value}
            assert similar <= warm
    assert by_split["new"], "the simulated catalogue has songs nobody played"


def test_training_is_blind_to_plays_of_held_out_songs(small_run, record):
    """Without the plays of held-out songs, the songs learnt from have the same labels."""
    by_split = labelled(record)
    table = pq.read_table(small_run.folder.input / contract.PLAYS)
    held_out = set(by_split["val"]) | set(by_split["test"])
    kept = table.filter(pa.array([song not in held_out for song in table["song_id"].to_pylist()]))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        found = pipeline | beam.Create([kept]) | FindSimilarSongs(AudienceConfig(), small_run.config.split)
        found | beam.combiners.ToList() | beam.Map(_keep)
    without = {song.decode(): similar for song, similar in _FOUND}
    assert len(by_split[WARM]) > 100 and len(by_split[NEW]) > 10
    for song, example in (by_split[WARM] | by_split[NEW]).items():
        similar = without[song].ids if song in without else []  # a song that nobody plays has no label
        assert list(example.features.feature[features.SIMILAR_IDS].bytes_list.value) == similar


_FOUND: list = []


def test_sparse_songs_are_learnt_from_and_nothing_else(small_run, record):
    transformed = record.uri("Transform", "transformed_examples")
    arguments = SimpleNamespace(
        train_files=[str(transformed / f"Split-{split}" / "*") for split in (WARM, NEW)],
        eval_files=[str(transformed / f"Split-{VALIDATION}" / "*")],
    )
    transform = tft.TFTransformOutput(str(record.uri("Transform", "transform_graph")))
    fields = contract.load_prepared(small_run.folder.input).fields

    def read(sparse_per_warm: float):
        return read_songs(arguments, transform, fields, sparse_per_warm)

    songs, labels = read(3.0), labelled(record)
    assert {song.decode() for song in songs.warm.ids} == set(labels[WARM])
    similar = {song: e.features.feature[features.SIMILAR_IDS].bytes_list.value for song, e in labels[NEW].items()}
    assert {song.decode() for song in songs.sparse.ids} == {song for song, others in similar.items() if others}
    names = [*songs.warm.ids.tolist(), *songs.sparse.ids.tolist()]
    anchors, positives, _ = similar_pairs(songs, 5)
    found: dict[str, list[bytes]] = {song: [] for song in similar}
    for anchor, positive in zip(anchors, positives, strict=True):
        if anchor >= len(songs.warm):
            found[names[anchor].decode()].append(names[positive])
    assert found == {song: list(others[:5]) for song, others in similar.items()}
    assert len(read(0.05).sparse) == int(0.05 * len(songs.warm)) and not len(read(0.0).sparse)
    learnt = json.loads((record.uri("Trainer", "model_run") / LEARNT).read_text())
    ridge, wanted = learnt["ridge"], {name: len(getattr(songs, name)) for name in ("warm", "sparse", "validation")}
    if is_better(ridge["recall_without_them"], ridge["recall_with_sparse_songs"]):
        wanted["sparse"] = 0
    assert learnt["songs"] == wanted
    chosen = "recall_with_sparse_songs" if wanted["sparse"] else "recall_without_them"
    assert ridge["validation_recall"] == ridge[chosen]
    assert "Songs used for training" in (record.uri("RunPage", "page") / PAGE).read_text()


def _keep(rows: list) -> None:
    """The runner works in this process, so what it finds can be kept here."""
    _FOUND.extend(rows)


def test_the_pushed_model_answers_in_a_plain_session(small_run, record, saved_model):
    session = Session(saved_model)
    fields = contract.load_prepared(small_run.folder.input).fields
    by_split = labelled(record)
    ids = [*list(by_split[TEST])[:5], *list(by_split[WARM])[:5]]
    examples = np.array([{**by_split[TEST], **by_split[WARM]}[song].SerializeToString() for song in ids], dtype=object)
    table = pq.read_table(small_run.folder.input / contract.SONGS).to_pylist()
    rows = {row["song_id"]: row for row in table}
    raw = raw_inputs(fields, [rows[song] for song in ids])

    embedding = session("serving_default", examples=examples)["embedding"]
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(session("embed", **raw)["embedding"], embedding, atol=1e-5)

    candidates = session("candidate", examples=examples)["embedding"]
    assert np.isfinite(candidates).all() and (np.abs(candidates).max(axis=1) > 0).all()  # cold ones by their content

    k, none = np.full(len(ids), 7, np.int32), np.full(len(ids), "", dtype=object)
    matches = session("match", k=k, exclude=none, **raw)
    assert matches["song_ids"].shape == matches["scores"].shape == (len(ids), 7)
    assert (np.diff(matches["scores"], axis=1) <= 0).all()
    index = set(by_split[WARM]) | set(by_split[VALIDATION]) | set(by_split[TEST])
    assert {song.decode() for song in matches["song_ids"].ravel()} <= index
    bulk = session("match_examples", examples=examples)
    np.testing.assert_array_equal(bulk["song_ids"][:, :7], matches["song_ids"])

    best = matches["song_ids"][:, 0]
    without = session("match", k=k, exclude=best, **raw)
    np.testing.assert_array_equal(without["song_ids"][:, :6], matches["song_ids"][:, 1:])
    many = session("match", k=np.full(len(ids), 1000, np.int32), exclude=none, **raw)
    assert many["song_ids"].shape[1] == len(index) - 1
    for warm, candidate in zip(ids, candidates, strict=True):  # as in the index
        found = np.nonzero(many["song_ids"] == warm.encode())
        assert len(found[0]) >= len(ids) - 1
        np.testing.assert_allclose(many["scores"][found], embedding[found[0]] @ candidate, atol=1e-5)


def test_the_ends_of_long_vectors_reach_the_model(small_run, saved_model):
    session, fields = Session(saved_model), contract.load_prepared(small_run.folder.input).fields
    added = {f"audio_v{length}": length for length in LENGTHS}
    shapes = {name: info.tensor_shape for name, info in session.signatures["embed"].inputs.items() if name in added}
    assert {name: shape.dim[1].size for name, shape in shapes.items()} == added
    rows = [row for row in pq.read_table(small_run.folder.input / contract.SONGS).to_pylist() if row["audio_v384"]][:5]
    # Of vectors of more than 32 numbers; validation songs may choose to do without one of the fields, not without all.
    long = [name for name, length in added.items() if length > 32]
    changed = [{**row, **{n: [*row[n][:32], *(-v for v in row[n][32:])] for n in long if row[n]}} for row in rows]
    before, after = (session("embed", **raw_inputs(fields, songs))["embedding"] for songs in (rows, changed))
    assert (np.abs(before - after).max(axis=1) > 1e-6).all()


def test_neither_labels_nor_display_columns_reach_the_model(small_run, saved_model):
    fields = {field.name for field in contract.load_prepared(small_run.folder.input).fields}
    assert set(Session(saved_model).signatures["embed"].inputs) == fields


def test_the_graph_holds_stock_operations_only(saved_model):
    known = set(tf.raw_ops.__dict__) | {"Placeholder", "Const", "NoOp"}
    assert Session(saved_model).operations() <= known


def test_the_server_answers_what_the_embedding_artifact_says(small_run, record):
    song_id = next(iter(labelled(record)[NEW]))
    row = pq.read_table(small_run.folder.input / contract.SONGS, filters=[("song_id", "=", song_id)]).to_pylist()[0]
    display = contract.load_prepared(small_run.folder.input).display
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(small_run.folder.serving)) as server,
        Client(server.target) as client,
    ):
        ids, scores = client.match([row], k=5, ignore=display)
        embedding = client.embed([row], ignore=display)
    (matches,) = stored(record, "matches", song_id).to_pylist()
    assert list(ids[0]) == matches["match_ids"][:5]
    np.testing.assert_allclose(scores[0], matches["match_scores"][:5], atol=1e-5)
    (embedded,) = stored(record, "embeddings", song_id).to_pylist()
    np.testing.assert_allclose(embedding[0], embedded["embedding"], atol=1e-5)


def test_every_new_song_is_targeted_at_listeners_of_its_matches(small_run, record):
    uri = str(record.uri("AudienceTargeter", "targets"))
    new = set(labelled(record)[NEW])
    assert set(read_summary(uri)["song_id"].to_pylist()) == new
    plays = pq.read_table(small_run.folder.input / contract.PLAYS)
    played = set(zip(plays["user_id"].to_pylist(), plays["song_id"].to_pylist(), strict=True))
    targets = read_targets(uri).to_pylist()
    assert record.text("AudienceTargeter", "targets", "embeddings") == str(record.uri("ServedEmbedder", "embeddings"))
    assert {row["song_id"] for row in targets} == new
    for row in targets:
        assert row["reason_song_ids"] and (row["user_id"], row["song_id"]) not in played
        assert all((row["user_id"], reason) in played for reason in row["reason_song_ids"])


def test_every_song_of_enough_listeners_is_served_and_no_other(small_run, record, saved_model):
    by_split, served = labelled(record), labelled(record, "ServedSongsLabeller")
    warm = {*by_split[WARM], *by_split[VALIDATION], *by_split[TEST]}
    assert set(served[WARM]) == warm and set(served[NEW]) == set(by_split[NEW])
    assert not served[VALIDATION] and not served[TEST]
    with SavedVersion(str(saved_model)) as version:
        names = version.index.names()
    assert set(names) == warm and len(names) == len(warm)
    matched = {match for row in stored(record, "matches").to_pylist() for match in row["match_ids"]}
    held_out = {*by_split[VALIDATION], *by_split[TEST]}
    assert matched & held_out and matched & set(by_split[WARM])
    # The weight is the one that validation songs chose while they were held out.
    weight = json.loads((record.uri("WeightChooser", "count_weight") / "weight.json").read_text())["count_weight"]
    assert weight in WEIGHTS
    printed = json.loads((saved_model / EXTRA / SERVED).read_text())
    assert printed["refit"] == "index" and printed["overlap"]["mean"] > 0.99  # the same towers
    counts = {name: len(by_split[name]) for name in (VALIDATION, TEST)}
    assert printed["judged"]["songs_in_index"] == len(by_split[WARM]) and printed["judged"]["held_out"] == counts
    assert printed["served"]["songs_in_index"] == len(warm)
    report = json.loads((record.uri("RetrievalEvaluator", "evaluation") / "report.json").read_text())
    measured = report["test"]["rows"]["model"]["recall@50"]["mean"]
    assert printed["judged"]["measured"]["test"]["recall@50"] == measured
    page = (record.uri("RunPage", "page") / PAGE).read_text()
    assert "What is served" in page and f"recall@50 {measured:.3f}" in page and f"<td>{len(warm)}</td>" in page


#: What the pipeline was made of before it served other songs than those it judged by.
_WITHOUT_REFIT = """SongGen PlayGen SongStatistics SongSchemaGen SongValidator PlayStatistics PlaySchemaGen
    PlayValidator DataGate SimilarSongsLabeller SongSchema Transform Trainer CatalogueEmbedder RetrievalEvaluator
    ServingValidator Pusher StatisticsKeeper AudienceTargeter RunPage"""


def test_what_each_refit_adds(small_run):
    def steps(**settings: object) -> dict[str, set[str]]:
        nodes = build(small_run, replace(small_run.config, **settings)).components
        return {node.id: {other.id for other in node.upstream_nodes} for node in nodes}

    without, index, train = (steps(refit=refit) for refit in ("off", "index", "train"))
    assert sorted(without) == sorted(_WITHOUT_REFIT.split())
    assert without["Pusher"] == {"Trainer", "RetrievalEvaluator", "ServingValidator"}
    common = {"ServedSongsLabeller", "ServedEmbedder", "ServedModelChecker", "WeightChooser"}
    assert set(index) - set(without) == {*common, "HeldOutIndexer"}
    assert set(train) - set(without) == {*common, "ServedTransform", "ServedTrainer", "JudgedModelKeeper"}
    assert train["Pusher"] == {"ServedTrainer", "ServedModelChecker", "ServingValidator"}
    assert "RetrievalEvaluator" in train["ServedSongsLabeller"]  # judged before it is fitted again
    assert {"ServedEmbedder", "WeightChooser"} < train["AudienceTargeter"]
    # Held-out songs are new to the judged model alone, so that is asked for their listeners.
    targeting = replace(small_run.config.targeting, target_splits=("new", "test"))
    asked = steps(refit="train", targeting=targeting)
    assert "CatalogueEmbedder" in asked["AudienceTargeter"] and "WeightChooser" not in asked
    fixed = steps(refit="index", targeting=replace(small_run.config.targeting, count_weight=0.1))
    assert "WeightChooser" not in fixed


def test_the_run_publishes_what_its_components_wrote(small_run, record, saved_model):
    latest = small_run.folder.latest
    songs = pq.read_table(small_run.folder.input / contract.SONGS, columns=["song_id", "title"]).to_pylist()
    titles = {row["song_id"]: row["title"] for row in songs}
    assert len(set(titles.values())) > 10
    uri = str(record.uri("AudienceTargeter", "targets"))
    for name, written in (("targets", read_targets(uri)), ("songs_summary", read_summary(uri))):
        rows = pq.read_table(latest / f"{name}.parquet").to_pylist()
        assert rows == [{**row, "title": titles[row["song_id"]]} for row in written.to_pylist()] and rows
    source = record.input_uri("AudienceTargeter", "embeddings")
    matches, embeddings = (pq.read_table(sorted(source.glob(f"{name}-*"))) for name in ("matches", "embeddings"))
    rows = pq.read_table(latest / "matches.parquet").to_pylist()
    for row in rows:
        assert row.pop("title") == titles[row["song_id"]]
        assert row.pop("match_titles") == [titles[match] for match in row["match_ids"]]
        np.testing.assert_allclose(np.sum(row["match_shares"], axis=1), row["match_scores"], atol=1e-5)
    reliability = [row.pop("reliability") for row in rows]
    evidence = ["known_fields", "evidence", "evidence_names"]
    assert rows == matches.drop(evidence).to_pylist() and rows
    assert set(rows[0]["share_names"]) > {"numbers", "rest"} and matches["evidence"].null_count == 0
    report = json.loads((record.uri("RetrievalEvaluator", "evaluation") / REPORT).read_text())["reliability"]
    if report["fitted"] is None:
        assert report["validation_songs"] < FEWEST_SONGS and set(reliability) == {None}
    else:
        assert report["test"]["low"] <= report["test"]["rho"] <= report["test"]["high"]
        assert all(0 <= value <= 1 for value in reliability) and len(set(reliability)) > 1
    assert pq.read_table(latest / "embeddings.parquet").equals(embeddings)
    assert (latest / "run.html").read_text() == (record.uri("RunPage", "page") / PAGE).read_text()

    text = (latest / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["model"]["version"] == saved_model.name and manifest["published"]
    assert manifest["settings"]["model"]["epochs"] == small_run.config.model.epochs
    assert all(check["passed"] for check in manifest["checks"].values())
    assert {"DataGate", "RetrievalEvaluator", "ServingValidator"} <= set(manifest["checks"])
    assert manifest["counts"]["songs_of_which_nothing_is_known"] == sum(not row["match_ids"] for row in rows)
    assert np.abs([score for row in rows for score in row["match_scores"]]).max() <= 1 + 1e-5
    least, most = manifest["targeting"]["target_scores"]
    assert all(least <= row["score"] <= most for row in read_targets(uri).to_pylist())
    assert manifest["counts"]["embeddings_by_split"] == dict(Counter(embeddings["split"].to_pylist()))
    users = set(pq.read_table(small_run.folder.input / contract.PLAYS)["user_id"].to_pylist())
    assert users and not any(f'"{user}"' in text for user in users)


def test_a_song_can_be_asked_about(small_run, record, capsys):
    def asked(*arguments: str) -> dict:
        assert ask.main([str(small_run.folder.home), *arguments, "--matches", "7", "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    by_split = labelled(record)
    new, warm = min(by_split[NEW]), min(by_split[WARM])
    latest = pq.read_table(small_run.folder.latest / "matches.parquet", filters=[("song_id", "=", new)]).to_pylist()
    found = asked("--song", new)
    assert [match["song_id"] for match in found["matches"]] == latest[0]["match_ids"][:7]
    (listeners,) = [read_targets(str(record.uri("AudienceTargeter", "targets")), [new]).to_pylist()]
    assert [row["user_id"] for row in found["listeners"]] == [row["user_id"] for row in listeners][:10]
    assert found["listeners"] and all(row["plays"] for row in found["listeners"])

    fields = [field.name for field in contract.load_prepared(small_run.folder.input).fields]
    rows = {row["song_id"]: row for row in pq.read_table(small_run.folder.input / contract.SONGS).to_pylist()}
    served = asked("--song-json", json.dumps({"title": "mine", **{name: rows[new][name] for name in fields}}))
    assert [match["song_id"] for match in served["matches"]] == latest[0]["match_ids"][:7]
    scores = [match["score"] for match in served["matches"]]
    np.testing.assert_allclose(scores, latest[0]["match_scores"][:7], atol=1e-5)
    assert served["listeners"] == [] and "Listeners are found by a run" in served["note"] and served["title"] == "mine"
    assert [m["in_common"] for m in served["matches"]] == [m["in_common"] for m in found["matches"]]
    for by_model, by_run in zip(served["matches"], found["matches"], strict=True):
        assert by_model["shares"] == pytest.approx(by_run["shares"], abs=1e-5) and by_run["shares"]
    assert found["reliability"] == latest[0]["reliability"]
    assert any(match["in_common"] for match in served["matches"])

    known = asked("--song", warm)
    assert len(known["matches"]) == 7 and warm not in {match["song_id"] for match in known["matches"]}
    assert known["title"] == rows[warm]["title"] and known["note"].startswith("Warm")

    unknown = asked("--song-json", '{"attribute_genre": "none of the catalogue"}')
    assert unknown["matches"] == [] and unknown["note"].startswith("No matches: the model knows no value of this song")


def test_the_report_has_every_row(record):
    report = json.loads((record.uri("RetrievalEvaluator", "evaluation") / "report.json").read_text())
    assert report["blessed"]
    for split in ("val", "test"):
        for row in ("model", "content cosine", "random"):
            estimate = report[split]["rows"][row]["recall@50"]
            assert 0 <= estimate["low"] <= estimate["mean"] <= estimate["high"] <= 1


def test_the_demo_names_songs_listeners_and_reasons(small_run, record):
    report = DemoReport.read(record, small_run.folder)
    with EmbeddedServer(port=0, model_name="bcl", model_base_path=str(small_run.folder.serving)) as server:
        text = "\n".join(report.songs(server.target, num_songs=2, num_matches=10, num_listeners=3))
    assert text.count("New song: ") == 2
    assert len(re.findall(r"^ +\d+\. .+ -?\d\.\d{3}$", text, re.MULTILINE)) == 20  # similar songs
    assert len(re.findall(r"^ +\d+\. user .+ -?\d\.\d{3}  \S", text, re.MULTILINE)) == 6  # listeners, with reasons
    for row in ("model", "content cosine", "random"):
        assert re.search(rf"^  {row} +0\.\d{{3}} \[0\.\d{{3}}, 0\.\d{{3}}\]", report.table(), re.MULTILINE)
    for place in ("Model:", "Targets:", "Report:", "Log:"):
        assert place in report.places()
    assert report.served and report.served.is_dir() and report.targets.is_dir()
    shown = report.page.read_text()
    for text in (
        "Blessed and pushed",
        "Correlation of the fields",
        "attribute_genre",
        "content cosine",
        "Target listeners",
    ):
        assert text in shown
    assert "http" not in shown


def test_excluded_listeners_and_a_listener_table_reach_the_targeting_alone(small_run, record, tmp_path, monkeypatch):
    def ran_with(**files: pa.Table) -> set[str]:
        for name, rows in files.items():
            pq.write_table(rows, tmp_path / f"{name}.parquet")
            monkeypatch.setenv(f"BCL_{name.upper()}", str(tmp_path / f"{name}.parquet"))
        lines: list[str] = []
        run_small(small_run.data, small_run.folder.home, small_run.config, lines.append)
        return {line.split()[0] for line in lines if "from cache" not in line}

    def targeted() -> list[str]:
        uri = RunRecord.latest(RunRecords.of(small_run.folder)).uri("AudienceTargeter", "targets")
        return read_targets(str(uri))["user_id"].to_pylist()

    first = read_targets(str(record.uri("AudienceTargeter", "targets")))["user_id"].to_pylist()
    often = max(set(first), key=first.count)
    excluded = pa.table({"user_id": [often], "song_id": pa.nulls(1, pa.string())})
    assert ran_with(exclusions=excluded) == {"WeightChooser", "AudienceTargeter", "RunPage"}
    assert often not in targeted() and targeted()
    assert ran_with() == set()
    # Another content under the same name, and a table in place of the vectors that plays form.
    width = len(stored(record, "embeddings", next(iter(labelled(record)["test"]))).to_pylist()[0]["embedding"])
    table = pa.table({"user_id": [often], "embedding": [[1.0] + [0.0] * (width - 1)]})
    ran = ran_with(exclusions=excluded.slice(0, 0), listeners=table)
    assert ran == {"WeightChooser", "AudienceTargeter", "RunPage"}
    uri = RunRecord.latest(RunRecords.of(small_run.folder)).uri("AudienceTargeter", "targets")
    without, scored = (sum(read_summary(str(uri))[name].to_pylist()) for name in ("without_vector", "scored"))
    assert 0 < scored - without < without  # one listener alone has a vector
    monkeypatch.undo()
    ran_with()  # leave it as it was


def test_a_song_taken_down_is_in_nothing_that_the_next_run_writes(small_run, record, tmp_path):
    songs = labelled(record)
    gone = {min(songs[WARM]), min(songs[TEST])}
    folder = RunFolder.at(tmp_path / "run")
    record_taken_down(folder.serving, gone)
    run_small(small_run.data, folder.home, replace(small_run.config, refit="train"), ignored)
    after = RunRecord.latest(RunRecords.of(folder))
    left = {song_id for split in songs.values() for song_id in split} - gone
    assert {song_id for split in labelled(after).values() for song_id in split} == left
    assert set(stored(after, "embeddings")["song_id"].to_pylist()) == left
    for row in stored(after, "matches").to_pylist():
        assert not gone & {row["song_id"], *row["match_ids"]}
    targets = read_targets(str(after.uri("AudienceTargeter", "targets"))).to_pylist()
    assert targets and not any(gone & {row["song_id"], *row["reason_song_ids"]} for row in targets)
    # This run trains once more on all songs: the kept model is that without the held-out ones.
    pushed = after.text("Pusher", "pushed_model", "pushed_destination")
    for path, held_out in ((pushed, set()), (folder.home / "judged_model", {*songs[VALIDATION], *songs[TEST]})):
        with SavedVersion(str(path)) as version:
            assert set(version.index.names()) == left - held_out - set(songs[NEW])
    judged, served = (read_learnt(str(path)) for path in (folder.home / "judged_model", pushed))
    assert judged is not None
    assert served is not None
    assert served["refit"] and "refit" not in judged
    assert served["settings"]["epochs"] == len(served["history"]["loss"]) == judged["best_epoch"]
    assert served["joined"]["weights"] == judged["joined"]["weights"]
    assert served["songs"]["validation"] == 0 and served["songs"]["warm"] == len(left - set(songs[NEW]))
    comparison = json.loads((Path(pushed) / EXTRA / SERVED).read_text())
    assert comparison["blessed"] and 0.5 <= comparison["overlap"]["mean"] < 1
    assert set(comparison["overlap"]["by_split"]) == {NEW, VALIDATION, TEST}
    split = small_run.config.split
    assert last_judged(str(folder.serving), str(folder.home / "judged_model"), split) == str(
        folder.home / "judged_model"
    )
    assert last_judged(str(folder.serving), str(folder.home / "judged_model"), replace(split, salt="other")) is None
    assert last_judged(str(folder.serving), str(tmp_path / "nothing"), split) is None


def test_a_second_run_takes_everything_from_the_cache_and_a_refused_model_is_not_pushed(small_run):
    lines: list[str] = []
    before = sorted(os.listdir(small_run.folder.history))
    run_small(small_run.data, small_run.folder.home, small_run.config, lines.append)
    assert len(lines) == len(small_run.lines) and all("from cache" in line for line in lines)
    assert sorted(os.listdir(small_run.folder.history)) == before
    versions = sorted(os.listdir(small_run.folder.serving))
    latest, history = os.readlink(small_run.folder.latest), sorted(os.listdir(small_run.folder.history))
    assert history[-1] == Path(latest).name

    lines.clear()
    run_small(small_run.data, small_run.folder.home, refused(small_run.config), lines.append)
    ran = {line.split()[0] for line in lines if "from cache" not in line}
    judging = {"RetrievalEvaluator", "ServedModelChecker"}
    assert ran == {*judging, "Pusher", "StatisticsKeeper", "AudienceTargeter", "RunPage"}
    record = RunRecord.latest(RunRecords.of(small_run.folder))
    report = json.loads((record.uri("RetrievalEvaluator", "evaluation") / "report.json").read_text())
    (reason,) = report["refused_because"]
    assert "content cosine" in reason
    # The model that was pushed last is this very model, loaded from where it is served.
    rows = report["test"]["rows"]
    last, model = (rows[name]["recall@50"]["mean"] for name in ("judged model of the last push", "model"))
    assert last == pytest.approx(model, abs=0.01)
    assert record.number("RetrievalEvaluator", "blessing", "blessed") == 0
    assert record.number("ServedModelChecker", "blessing", "blessed") == 0
    assert record.number("Pusher", "pushed_model", "pushed") == 0
    assert record.number("AudienceTargeter", "targets", "targeted") == 0
    assert sorted(os.listdir(small_run.folder.serving)) == versions
    assert os.readlink(small_run.folder.latest) == latest
    (added,) = sorted(set(os.listdir(small_run.folder.history)) - set(history))
    manifest = json.loads((small_run.folder.history / added / "manifest.json").read_text())
    assert not manifest["published"] and manifest["not_published_because"] == [reason]
    run_small(small_run.data, small_run.folder.home, small_run.config, lines.append)  # leave it as it was


def test_data_that_lost_a_field_stops_the_run(small_run, tmp_path):
    shutil.copytree(small_run.data, tmp_path / "data")
    songs = pq.read_table(small_run.data / "songs.parquet")
    pq.write_table(songs.drop(["audio_timbre"]), tmp_path / "data" / "songs.parquet")
    versions = sorted(os.listdir(small_run.folder.serving))
    with pytest.raises(Exception, match=r"stops the run: songs, column `audio_timbre`"):
        run_small(tmp_path / "data", small_run.folder.home, small_run.config, ignored)
    assert sorted(os.listdir(small_run.folder.serving)) == versions
    lines: list[str] = []
    run_small(small_run.data, small_run.folder.home, small_run.config, lines.append)  # leave it as it was
    assert all("from cache" in line for line in lines)


def test_the_tuner_finds_settings_that_the_trainer_takes(small_run, record, tmp_path):
    from tfx.components.trainer.fn_args_utils import FnArgs

    fixed = {
        "momentum": 0.5,
        "update_every": 7,
        "field_dropout": 0.25,
        "contrast_temperature": 0.5,
        "contrast_weight": 0.2,
    }
    only: dict[str, Any] = {name: (value,) for name, value in fixed.items()}
    space = SearchSpace(learning_rate=(1e-9, 5e-3), **only)
    config = replace(small_run.config, tuning=TuningConfig(trials=2, space=space, seed=1))
    transformed = record.uri("Transform", "transformed_examples")
    arguments = FnArgs(
        working_dir=str(tmp_path),
        train_files=[str(transformed / f"Split-{split}" / "*") for split in (WARM, NEW)],
        eval_files=[str(transformed / f"Split-{VALIDATION}" / "*")],
        transform_graph_path=str(record.uri("Transform", "transform_graph")),
        custom_config=custom_config(
            "tfx_pipeline.models.tuner",
            TunerSettings(
                contract.load_prepared(small_run.folder.input).fields,
                config.model,
                config.training,
                config.transform.max_values,
                config.tuning,
            ),
        ),
    )
    found = tuner_fn(arguments)
    found.tuner.search(**found.fit_kwargs)
    scores = {t.hyperparameters["learning_rate"]: t.score for t in found.tuner.oracle.get_best_trials(2)}
    assert 0 < scores[1e-9] < scores[5e-3] < 1  # towers that hardly learn are found out

    best = found.tuner.get_best_hyperparameters()[0].get_config()
    assert with_tuned(config.model, best) == replace(config.model, learning_rate=5e-3, **fixed)

    nodes = {node.id: node for node in build(small_run, config).components}
    assert "Tuner" in {node.id for node in nodes["Trainer"].upstream_nodes}
    assert "Tuner" not in {node.id for node in build(small_run, small_run.config).components}


def build(run: SmallRun, config: PipelineConfig) -> tfx.dsl.Pipeline:
    folder = run.folder
    return create_pipeline(
        pipeline_name="bcl",
        pipeline_root=folder.pipeline_root,
        data_root=folder.input,
        serving_dir=folder.serving,
        kept_statistics=folder.kept_statistics,
        fields=contract.load_prepared(folder.input).fields,
        config=config,
    )


#: A run that is killed in the middle of the Trainer, whatever the load of the machine.
_KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tests.tfx_pipeline.conftest import run_small, small_config
    from bcl_keras.models import BCLModel
    BCLModel.fit = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    run_small(Path(sys.argv[1]), Path(sys.argv[2]), small_config(), print)
"""

#: What a user types, in one process, because importing TFX takes most of the time of each command.
_TFX = """
    import sys
    from tfx_pipeline.tfx_command import main

    def tfx(*arguments):
        print("$ tfx", *arguments[:2], flush=True)
        try:
            main([*arguments, "--engine", "local"])
        except SystemExit as error:
            print("exit", error.code, flush=True)

    path, name = ("--pipeline_path", sys.argv[1]), ("--pipeline_name", "bcl")
    tfx("pipeline", "compile", *path)
    tfx("pipeline", "create", *path)
    tfx("pipeline", "create", *path)
    tfx("pipeline", "list")
    tfx("pipeline", "update", *path)
    tfx("run", "create", *name)
    tfx("pipeline", "delete", *name)
    tfx("run", "create", *name)
"""


def test_a_killed_run_started_again_by_the_tfx_command_ends_with_the_same_result(small_run, record, tmp_path):
    home, log = tmp_path / "run", tmp_path / "log"
    command = [sys.executable, "-c", textwrap.dedent(_KILLED), str(small_run.data), str(home)]
    with log.open("w") as file:
        killed = subprocess.run(command, stdout=file, stderr=file, check=False)
    assert killed.returncode == -signal.SIGKILL, log.read_text()[-2000:]
    assert (home / "pipeline" / "Trainer" / "model").is_dir()

    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(what_differs(small_run.config)))
    runner = Path(local_runner.__file__)
    variables = {"BCL_DATA": small_run.data, "BCL_RUN": home, "BCL_SETTINGS": settings, "LOCAL_HOME": tmp_path / "tfx"}
    inherited = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_TFX), str(runner)],
        cwd=tmp_path,
        env=inherited | {name: str(value) for name, value in variables.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    everything = done.stdout + done.stderr
    assert done.returncode == 0, everything
    compiled, created, again, listed, updated, ran, deleted, gone = done.stdout.split("$ tfx ")[1:]
    assert "compiled successfully" in compiled, everything
    assert 'Pipeline "bcl" created successfully' in created, everything
    assert 'Pipeline "bcl" already exists' in again
    assert "bcl" in listed.splitlines()
    assert 'Pipeline "bcl" updated successfully' in updated
    assert 'Pipeline "bcl" deleted successfully' in deleted
    assert 'Pipeline "bcl" does not exist' in gone
    first, *lines, results, of_log, ended = ran.splitlines()[1:]
    assert (first, ended) == ("Creating a run for pipeline: bcl", "exit 0"), everything
    assert results.startswith("Results: ") and of_log == f"Log: {home / 'run.log'}"
    assert all(re.fullmatch(r"  \w+ +(\d+\.\d s|from cache)", line) for line in lines), everything
    assert len(lines) == len(small_run.lines), everything
    assert done.stderr == ""  # what libraries say is in the log
    cached = {line.split()[0] for line in lines if "from cache" in line}
    assert "Transform" in cached and "Trainer" not in cached

    (published,) = os.listdir(home / "history")  # by the one command that ran something
    assert f"Results: {home / 'latest'}" in ran and os.readlink(home / "latest") == f"history/{published}"

    after_kill = RunRecord.latest(RunRecords.of(RunFolder.at(home)))
    first, second = (stored(of_run, "embeddings").sort_by("song_id") for of_run in (record, after_kill))
    assert first["song_id"].equals(second["song_id"])
    before, after = (
        [np.stack(table[column].to_pylist()) for column in ("embedding", "candidate_embedding")]
        for table in (first, second)
    )
    for mine, other in zip(before, after, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4)
    scores, other_scores = (queries @ songs.T for queries, songs in (before, after))
    np.testing.assert_allclose(scores, other_scores, atol=1e-4)
    assert (best_rows(scores, 20) == best_rows(other_scores, 20)).mean() > 0.999
    choices, other_choices = (what_was_chosen(of_run) for of_run in (record, after_kill))
    assert choices == other_choices


def what_was_chosen(record: RunRecord) -> dict[str, object]:
    learnt = json.loads((record.uri("Trainer", "model_run") / LEARNT).read_text())
    chosen = {name: learnt["ridge"][name] for name in ("ridge", "own_share", "power", "spread")}
    return {**chosen, "weights": learnt["joined"]["weights"], "songs": learnt["songs"]}


def what_differs(config: PipelineConfig) -> dict[str, object]:
    """The settings that are not the defaults, as a user writes them into a file."""
    given, default = asdict(config), asdict(PipelineConfig())
    return {
        section: {name: value for name, value in values.items() if value != default[section][name]}
        if isinstance(values, dict)
        else values
        for section, values in given.items()
        if values != default[section]
    }

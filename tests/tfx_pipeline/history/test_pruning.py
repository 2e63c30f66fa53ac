"""Pruning: which runs and versions stay, on records that ML Metadata itself wrote."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from serving.files.linked_files import link_tree, share_files
from tests.tfx_pipeline.history.recorded_nights import Nights
from tfx_pipeline.history.pruning import plan
from tfx_pipeline.history.rollback import roll_back
from tfx_pipeline.runs import main
from tfx_pipeline.runtime.run_folder import RunFolder

DELETED, LIVE = mlmd.Artifact.DELETED, mlmd.Artifact.LIVE


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(RunFolder.at(tmp_path / "Läufe 日"))


def versions(nights: Nights) -> list[str]:
    return sorted(path.name for path in nights.folder.serving.iterdir())


def test_the_last_runs_stay_and_the_rest_is_removed(nights: Nights) -> None:
    pushed = [nights.add("pushed") for _ in range(4)]
    for run in range(4):
        nights.publish(run)
    plan(nights.folder, 2).carry_out()
    assert versions(nights) == pushed[2:]
    for run, made in enumerate(nights.made):
        for artifact in made.values():
            assert Path(artifact.uri).exists() == (run >= 2)
            assert nights.states()[artifact.id] == (LIVE if run >= 2 else DELETED)
    history = sorted(path.name for path in (nights.folder.home / "history").iterdir())
    assert history == [name.replace(":", "-") for name in nights.names[2:]]
    ran = nights.folder.pipeline_root.glob("*/.system/executor_execution/*")
    assert len(list(ran)) == 2 * len(nights.made[0])
    assert plan(nights.folder, 2).in_words() == "nothing"


def test_the_served_model_stays_however_old_it_is(nights: Nights) -> None:
    served = nights.add("pushed")
    nights.publish(0)
    for outcome in ("refused", "stopped", "killed", "refused"):
        nights.add(outcome)
    plan(nights.folder, 1).carry_out()
    assert versions(nights) == [served]
    assert all(Path(artifact.uri).exists() for artifact in nights.made[0].values())
    assert (nights.folder.home / "latest" / "manifest.json").exists()
    assert not any((nights.folder.pipeline_root / "Transform" / "graph").iterdir())  # of the killed night


def test_a_version_that_a_refresh_made_counts_as_its_model(nights: Nights) -> None:
    nights.add("pushed")
    served = nights.add("pushed")
    os.makedirs(nights.folder.serving / str(int(served) + 1))
    nights.add("refused")
    plan(nights.folder, 1).carry_out()
    assert versions(nights) == [str(int(served) + 1)]
    assert all(Path(artifact.uri).exists() for artifact in nights.made[1].values())
    assert not any(Path(artifact.uri).exists() for artifact in nights.made[0].values())


def test_cached_artifacts_stay_with_the_run_that_uses_them(nights: Nights) -> None:
    nights.add("pushed")
    nights.add("pushed")
    for _ in range(3):
        nights.add("pushed", cached=True)
    plan(nights.folder, 2).carry_out()
    assert all(Path(artifact.uri).exists() for artifact in nights.made[1].values())
    assert not any(Path(artifact.uri).exists() for artifact in nights.made[0].values())


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_nights(nights: Nights, seed: int) -> None:
    """Kept runs are whole, nothing is deleted that a kept run has, and what is marked deleted is gone."""
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 9)):
        whole = bool(nights.made) and "Pusher" in nights.made[-1]
        nights.add(rng.choice(("pushed", "refused", "stopped", "killed")), cached=whole and rng.random() < 0.3)
    keep = rng.randint(1, 4)
    all_versions = versions(nights) if nights.folder.serving.is_dir() else []
    if all_versions and rng.random() < 0.5 and len(all_versions) > 1:
        roll_back(nights.folder.serving)
        all_versions = versions(nights)
    plan(nights.folder, keep).carry_out()
    for made in nights.made[-keep:]:
        for artifact in made.values():
            assert Path(artifact.uri).is_dir() and nights.states()[artifact.id] == LIVE
    for artifact in (artifact for made in nights.made for artifact in made.values()):
        assert Path(artifact.uri).exists() == (nights.states()[artifact.id] == LIVE)
    assert (versions(nights) if all_versions else []) == all_versions[-keep:]
    again = plan(nights.folder, keep)
    assert not again.folders and not any(again.artifacts.values())


def test_a_folder_that_was_moved(nights: Nights, tmp_path: Path) -> None:
    """ML Metadata has the paths from before; they must not make everything look forgotten."""
    for _ in range(3):
        nights.add("pushed")
    moved = tmp_path / "moved"
    nights.folder.home.rename(moved)
    plan(RunFolder.at(moved), 1).carry_out()
    kept = sorted(path.name for path in moved.glob("pipeline/*/*/*") if path.parts[-2] != ".system")
    assert kept == sorted(Path(artifact.uri).name for artifact in nights.made[2].values())


def test_a_prune_that_was_killed_is_finished_by_the_next(nights: Nights) -> None:
    for _ in range(3):
        nights.add("pushed")
    first = plan(nights.folder, 1)
    for half in (nights.folder.serving, nights.folder.pipeline_root / "Trainer" / "model"):
        min(half.iterdir(), key=lambda path: int(path.name)).rename(half / ".pruning")
    type(first)((), (), (), first.artifacts).carry_out()  # marked, not removed
    plan(nights.folder, 1).carry_out()
    assert not list(nights.folder.home.rglob(".pruning"))
    assert len(list(nights.folder.pipeline_root.glob("Trainer/model/*"))) == len(versions(nights)) == 1


def test_only_files_without_another_name_make_room(nights: Nights) -> None:
    for _ in range(2):
        nights.add("pushed")
    old = next(iter(sorted(nights.folder.serving.iterdir())))
    (old / "large").write_bytes(b"x" * 1000)
    os.link(old / "large", old / "large too")
    before = plan(nights.folder, 1).size()
    os.link(old / "large", nights.folder.home / "elsewhere")
    assert before - plan(nights.folder, 1).size() == 1000


def test_a_dry_run_changes_nothing(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    pushed = [nights.add("pushed") for _ in range(2)]
    run = str(nights.folder.home)
    assert main(["prune", run, "--keep", "1", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"would go: runs: 1, versions: 1 ({pushed[0]})" in shown and str(nights.folder.serving / pushed[0]) in shown
    assert versions(nights) == pushed and set(nights.states().values()) == {LIVE}
    assert main(["prune", run, "--keep", "1"]) == 0
    assert versions(nights) == pushed[1:]
    assert main(["prune", run, "--keep", "0"]) == 2
    assert capsys.readouterr().err == "--keep: expected at least 1. Received: 0\n"


def test_tfx_takes_nothing_from_its_cache_that_was_pruned(nights: Nights) -> None:
    """TFX's own look-up, on folders that are there still: the mark alone must do."""
    from tfx.orchestration import metadata
    from tfx.orchestration.portable import cache_utils

    nights.add("pushed")
    nights.add("pushed")
    found = [_cached(nights, run) for run in (0, 1)]
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(nights.folder.metadata)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE
    planned = plan(nights.folder, 1)
    with metadata.Metadata(config) as handle:
        assert all(cache_utils.get_cached_outputs(handle, context) for context in found)
        type(planned)((), (), (), planned.artifacts).carry_out()
        assert cache_utils.get_cached_outputs(handle, found[0]) is None
        (kept,) = cache_utils.get_cached_outputs(handle, found[1])["model"]
    assert kept.uri == nights.made[1]["Trainer"].uri


def _cached(nights: Nights, run: int) -> mlmd.Context:
    """Gives the training of a run the key by which TFX finds it, and the name of its output."""
    store, artifact = nights.store, nights.made[run]["Trainer"]
    (event,) = store.get_events_by_artifact_ids([artifact.id])
    step = event.path.steps.add()
    step.key = "model"
    event.path.steps.add().index = 0
    (execution,) = store.get_executions_by_id([event.execution_id])
    new = mlmd.Execution(type_id=execution.type_id, last_known_state=mlmd.Execution.COMPLETE)
    (new.id,) = store.put_executions([new])
    event.execution_id = new.id
    store.put_events([event])
    kind = store.put_context_type(mlmd.ContextType(name="execution_cache"))
    context = mlmd.Context(type_id=kind, name=f"key {run}")
    (context.id,) = store.put_contexts([context])
    store.put_attributions_and_associations([], [mlmd.Association(execution_id=new.id, context_id=context.id)])
    return context


def test_shared_files(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    contents = {"same": b"1", "sub/same": b"22", "other": b"333"}
    for name, content in contents.items():
        for folder in (original, copy):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    (copy / "other").write_bytes(b"444")
    (copy / "more").write_bytes(b"5")
    share_files(original, copy)
    shared = {name: os.path.samefile(original / name, copy / name) for name in contents}
    assert shared == {"same": True, "sub/same": True, "other": False}
    assert (copy / "other").read_bytes() == b"444" and (copy / "more").read_bytes() == b"5"
    link_tree(copy, tmp_path / "third")
    assert (tmp_path / "third" / "sub" / "same").stat().st_nlink == 3

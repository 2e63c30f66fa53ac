"""The code fingerprint follows edits of what a module uses, and of nothing else."""

import sys

import pytest

from tfx_pipeline.runtime import fingerprint


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, source in {
        "ours/__init__.py": "",
        "ours/trainer.py": "from ours import losses\nfrom ours.deep.layers import Layer\nimport numpy\n",
        "ours/losses.py": "bpr = 1\n",
        "ours/deep/__init__.py": "from . import grid\n",
        "ours/deep/layers.py": "class Layer: pass\n",
        "ours/deep/grid.py": "",
        "ours/unused.py": "raise RuntimeError('must not be imported')\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(fingerprint, "_OURS", ("ours",))
    fingerprint._root.cache_clear()
    yield tmp_path / "ours"
    fingerprint._root.cache_clear()


@pytest.mark.parametrize(
    "used", ["trainer.py", "losses.py", "deep/layers.py", "deep/__init__.py", "deep/grid.py", "__init__.py"]
)
def test_an_edit_of_used_code_changes_it(project, used):
    before = fingerprint.code_fingerprint("ours.trainer")
    assert fingerprint.code_fingerprint("ours.trainer") == before
    (project / used).write_text((project / used).read_text() + "# edited\n")
    assert fingerprint.code_fingerprint("ours.trainer") != before


def test_an_edit_of_other_code_does_not_change_it(project):
    before = fingerprint.code_fingerprint("ours.trainer")
    (project / "unused.py").write_text("# edited\n")
    assert fingerprint.code_fingerprint("ours.trainer") == before
    assert "ours.unused" not in sys.modules


def test_an_unknown_module_is_refused():
    with pytest.raises(ModuleNotFoundError, match=r"tfx_pipeline.no_such_module"):
        fingerprint.code_fingerprint("tfx_pipeline.no_such_module")


def test_custom_executors_are_in_the_cache_key(tmp_path, monkeypatch):
    from tfx.types import Channel, standard_artifacts

    from tfx_pipeline.tfx_extensions import standard

    def keys() -> list[str]:
        made = standard.pusher(
            Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
            infra_blessing=Channel(type=standard_artifacts.InfraBlessing),
            serving_dir=tmp_path,
        )
        return [str(part.exec_properties) for part in (standard.parquet_example_gen(tmp_path / "songs.parquet"), made)]

    before = keys()
    assert before == keys()
    monkeypatch.setattr(standard, "code_fingerprint", lambda module: f"edited {module}")
    after = keys()
    assert "edited tfx_pipeline.tfx_extensions.parquet_executor" in after[0] and "edited" not in before[0]
    assert "edited tfx_pipeline.tfx_extensions.pusher_executor" in after[1] and "edited" not in before[1]

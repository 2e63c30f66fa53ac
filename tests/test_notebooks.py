"""The notebooks run from top to bottom and show what they say, with their pictures in place."""

from __future__ import annotations

import base64
import copy
import io
import re
from pathlib import Path

import jupyter_client
import matplotlib.image
import nbclient
import nbformat
import pytest

from tests.waiting import LAST_RESORT

RECALL = r"recall@50 on 100 test songs: ([.\d]+); chance is ([.\d]+)"
TOGETHER = r"genre with timbre: ([.\d]+); genre with tempo: ([.\d]+)"
LABELLED = r"s\d+ has an audience like that of\n(  s\d+  audience cosine 0\.\d{3}\n){5}"
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def outputs(notebook: nbformat.NotebookNode) -> list[tuple[int, nbformat.NotebookNode]]:
    cells = enumerate(notebook.cells)
    return [(place, output) for place, cell in cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(notebook: nbformat.NotebookNode) -> list[tuple[int, bytes]]:
    found = [(place, output.get("data", {}).get("image/png")) for place, output in outputs(notebook)]
    return [(place, base64.b64decode(image)) for place, image in found if image]


def text(notebook: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for _, output in outputs(notebook))


@pytest.fixture(scope="module", params=["fit_on_arrays", "read_the_correlation", "first_components"])
def notebook(request: pytest.FixtureRequest) -> tuple[str, nbformat.NotebookNode, nbformat.NotebookNode]:
    """Name, the notebook as kept, and as it runs now in a fresh kernel."""
    kept = nbformat.read(NOTEBOOKS / f"{request.param}.ipynb", as_version=4)
    run = copy.deepcopy(kept)
    # Over sockets of files: the kernel's ports would be found free first and opened later, when they may be taken.
    kernel = jupyter_client.AsyncKernelManager(kernel_name="python3", transport="ipc")
    limits = {"timeout": LAST_RESORT, "startup_timeout": LAST_RESORT, "iopub_timeout": LAST_RESORT}
    nbclient.NotebookClient(run, km=kernel, **limits).execute()
    return request.param, kept, run


def test_pictures_are_in_place(notebook: tuple[str, nbformat.NotebookNode, nbformat.NotebookNode]) -> None:
    _, kept, run = notebook
    assert [place for place, _ in pictures(kept)] == [place for place, _ in pictures(run)] != []
    for _, image in pictures(kept) + pictures(run):
        assert matplotlib.image.imread(io.BytesIO(image)).std() > 0.05  # not blank


def test_users_see_results_and_no_noise(notebook: tuple[str, nbformat.NotebookNode, nbformat.NotebookNode]) -> None:
    name, kept, run = notebook
    assert not [output for _, output in outputs(kept) + outputs(run) if output.get("name") == "stderr"]
    for shown in (text(kept), text(run)):
        if name == "fit_on_arrays":
            recall, chance = map(float, re.findall(RECALL, shown)[0])
            assert recall > 4 * chance
        elif name == "first_components":
            assert re.search(LABELLED, shown), shown
        else:
            together, apart = map(float, re.findall(TOGETHER, shown)[0])
            assert together > 0.5
            assert apart < 0.35

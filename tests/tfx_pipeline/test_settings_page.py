"""The reference page of settings, and what it is made from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.models.model_config import TuningConfig
from tfx_pipeline.runtime import settings_page
from tfx_pipeline.runtime.setting_texts import introduction, setting_texts

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


@dataclass(frozen=True)
class Inner:
    """A section.

    It has two paragraphs.

    Args:
        share: A share | of
            something. None for none.
    """

    share: float | None = None
    sizes: tuple[int, ...] = (1,)  # told by a comment


@dataclass(frozen=True)
class Outer:
    """The whole.

    Attributes:
        inner: A part.
    """

    inner: Inner = field(default_factory=Inner)
    spare: Inner | None = None
    kind: Literal["a", "b"] = "a"


def test_the_committed_page_is_current(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BCL_BEAM", raising=False)  # the defaults of targeting depend on the engine
    assert settings_page.main(["tfx_pipeline.config:PipelineConfig", str(tmp_path / "settings.md")]) == 0
    made = (tmp_path / "settings.md").read_text(encoding="utf-8")
    assert made == PAGE.read_text(encoding="utf-8"), "write the page anew; its first lines name the command"


def test_every_setting_has_a_meaning() -> None:
    assert [row for row in PAGE.read_text(encoding="utf-8").splitlines() if row.endswith("|  |")] == []


def test_the_page_has_every_setting() -> None:
    page = PAGE.read_text(encoding="utf-8")
    sections = page.split("\n## ")[1:]

    def check(place: str, settings: Any) -> None:
        (section,) = (text for text in sections if text.startswith(f"`{place}`" if place else "All"))
        for setting in fields(settings):
            assert section.count(f"\n| `{setting.name}` |") == 1
            if is_dataclass(value := getattr(settings, setting.name)):
                check(f"{place}.{setting.name}".lstrip("."), value)

    check("", PipelineConfig(tuning=TuningConfig()))


def test_a_page_by_hand() -> None:
    assert settings_page.settings_page(Outer()).split("\n## ")[1:] == [
        "All sections\n\nThe whole.\n\n"
        "| setting | value | default | meaning |\n| --- | --- | --- | --- |\n"
        "| `inner` | [section](#inner) | as below | A part. |\n"
        "| `spare` | [section](#spare) or null | `null` |  |\n"
        '| `kind` | `"a"` or `"b"` | `"a"` |  |\n',
        *(
            f"`{name}`\n\nA section.\n\nIt has two paragraphs.\n\n"
            "| setting | value | default | meaning |\n| --- | --- | --- | --- |\n"
            "| `share` | number or null | `null` | A share \\| of something. `null` for none. |\n"
            "| `sizes` | list of whole numbers | `[1]` | Told by a comment. |\n"
            for name in ("inner", "spare")
        ),
    ]


def test_texts_of_settings() -> None:
    assert setting_texts(Inner) == {"share": "A share | of something. None for none.", "sizes": "told by a comment"}
    assert introduction(Inner) == "A section.\n\nIt has two paragraphs."

"""The curves of the READMEs are those of the tables in `docs/results.md`."""

from __future__ import annotations

import html
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import pretraining_curves as curves
from benchmarks.jobs import ROOT

CURVES = ROOT / "docs/curves"


@pytest.mark.parametrize("name", curves.PICTURES)
def test_the_picture_is_of_today_s_table(name: str) -> None:
    text = (CURVES / name).read_text(encoding="utf-8")
    rows = curves.read_table(curves.RESULTS.read_text(encoding="utf-8"), curves.PICTURES[name][1])
    assert curves.description(rows) in html.unescape(text), (
        "python -m benchmarks.pretraining_curves"
    )
    assert len(text) < 40_000


def test_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pretraining_curves", str(tmp_path / "new")])
    curves.main()
    for name in curves.PICTURES:
        assert ElementTree.parse(tmp_path / "new" / name).getroot().tag.endswith("svg")

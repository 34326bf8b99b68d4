"""The page of a report: whole, of one file, of whatever a run has left."""

from __future__ import annotations

import builtins
import functools
import itertools
import json
import math
import os
import re
from contextlib import nullcontext
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from paddlenlp_ext import __main__ as console
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.reporting import page
from paddlenlp_ext.reporting.drawing import LIGHT, png_of
from paddlenlp_ext.reporting.page import write_report
from paddlenlp_ext.reporting.runs import RunRecord
from paddlenlp_ext.reproduce.tables import reported_by_part
from tests.reporting.runs import LANGUAGES, make_run, outcome, write_lines
from tests.test_console import ended

pytest.importorskip("matplotlib")


class Page(HTMLParser):
    """What a page shows, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.places: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.places += [value for name, value in attributes if name in ("src", "srcset", "href")]
        if tag not in ("meta", "img", "source", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "td"):
            (self.headings if self.open[-1] == "h2" else self.cells).append(data)


def told(run, splits, step=60):
    text = json.dumps({"best": {"step": step, "splits": splits}}, ensure_ascii=False)
    (run / "outcomes.json").write_text(text, "utf-8")


def test_a_page_needs_nothing_else(tmp_path):
    run = make_run(tmp_path / "run")
    told(run, {"dev": outcome(["bad", "good"], "so <b>long</b> 很好看")})
    page, *pictures = write_report([run])
    assert page == run / "report.html"
    text = page.read_text("utf-8")
    found = Page(text)
    assert found.headings == [
        "Runs", "Learning curves", "What was predicted: dev",
        "How far probabilities can be believed", "Time of updates", "Worst errors", "What was run",
    ]  # fmt: skip
    assert len(found.places) == 2 * 4
    assert all(place.startswith("data:image/png;base64,") for place in found.places)
    assert not re.search(r"url\(|@import|https?:", text)
    assert "so <b>long</b> 很好看" in found.cells
    names = {path.relative_to(run / "report").name for path in pictures}
    shown = ["curves", "confusion-1", "calibration", "times"]
    assert names == {f"{name}{end}.png" for name in shown for end in ("", "-dark")}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert [*map(float, found.cells[found.cells.index("2.5") :: 7])][:3] == [2.5, 1.5, 1.0]
    (page,) = write_report([run], has_texts=False, errors=2)[:1]
    assert "很好看" not in page.read_text("utf-8")
    assert page.read_text("utf-8").count("dev.tsv:") == 2


def test_several_runs_go_where_they_all_are(tmp_path):
    parts = [f"dev_{language}" for language in LANGUAGES]
    runs = [make_run(tmp_path / f"s{seed}", seed=seed, splits=parts) for seed in (1, 2, 3)]
    runs.append(make_run(tmp_path / "deep/other", rate="1e-4", splits=parts))
    told(runs[0], {part: outcome(["x", "y"]) for part in parts})
    page, *_ = write_report(runs, reported={"a paper": {"en": 80.0}})
    assert page == tmp_path / "report.html"
    found = Page(page.read_text("utf-8"))
    assert "What was predicted: dev, all parts of lr2e-5" in found.headings
    assert "acc of dev by language or part" in found.headings
    assert "lr2e-5: mean of 3 runs" in found.cells
    (mean,) = [cell for cell in found.cells if "±" in cell]
    assert re.fullmatch(r"0\.\d{4} ± 0\.\d{4}", mean)


def test_runs_that_go_on_or_were_killed(tmp_path):
    run = make_run(tmp_path, steps=30)
    facts = {"total_steps": 90, "process": {"number": os.getpid(), "host": os.uname().nodename}}
    (tmp_path / "record.json").write_text(json.dumps(facts))
    (tmp_path / "results.jsonl").write_bytes(b'{"signature": "a|b"')
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'nonsense\n{"step": "x"}\n\xff\xfe\n{"step": 31, "loss"')  # as by kill -9
    found = RunRecord.read(run)
    assert (found.step, found.state, found.best_step, found.results) == (30, "goes on", 20, [])
    cells = Page(write_report([run])[0].read_text("utf-8")).cells
    assert "30 of 90" in cells
    facts["process"]["number"] = 2**22 + 1  # more than Linux gives
    (tmp_path / "record.json").write_text(json.dumps(facts))
    assert RunRecord.read(run).state == "ended without a word"
    told(run, {"dev": outcome(["x", "y"])}, step=40)  # of a course that a resume has left
    assert RunRecord.read(run).outcome() == (0, {})
    for name in ("record.json", "outcomes.json"):
        (tmp_path / name).write_text('{"best": ')
    (tmp_path / "log").mkdir()
    failed = {"rank": 1, "reason": "ValueError: <no>", "date": "2026-11-29"}
    (tmp_path / "log/FAILED.json").write_text(json.dumps(failed))
    text = write_report([run])[0].read_text("utf-8")
    assert "2026-11-29: process 1: ValueError: &lt;no&gt;" in text
    assert "Learning curves" in Page(text).headings


FACTS = {
    "format": "a", "signature": "m|t|train|loss|bs8|lr1e-4|len64|seed1|cpu1", "total_steps": 60,
    "best_step": 60, "settings": {"a": 1}, "data": {"train": {"rows": 3, "digest": "12"}},
    "model": {"from": "m"}, "machine": {"cores": 2}, "versions": {"python": "3"},
    "process": {"number": 3, "host": "here"}, "labels": ["x", "y"], "ended": "complete",
    "starts": [{"date": "today", "step": 3, "command": "c"}], "evaluation_seconds": 2.0,
    "memory": 3, "device_memory": 4, "date": "today",
}  # fmt: skip
OUTCOMES = {
    "best": {"step": 60, "splits": {"dev": outcome(["x", "y"]), "b": {"points": [[1.0, 2.0]]}}}
}
ROWS = [
    {"step": 60, "loss": 0.4, "learning_rate": 0.0, "seconds": 0.25},
    {
        "step": 60,
        "loss": 0.5,
        "split": "dev",
        "metrics": {"acc": 0.5},
        "classes": {"x": {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 3}},
    },
]
RESULTS = [
    {
        "signature": FACTS["signature"],
        "metrics": {"acc": 0.5, "average": 0.5, "en": 0.5, "de": 0.5},
    }
]
OTHERS = [
    *(None, True, -1, 10**50, 10**400, 1e308, math.inf),
    *("x", "\ud800", [], [[1]], {}, {"x": []}),
]
FILES = {
    "record.json": FACTS, "outcomes.json": OUTCOMES, "history.jsonl": ROWS,
    "results.jsonl": RESULTS,
}  # fmt: skip


def places(value, at=()):
    """Each value within a value, by how it is come to; of a list the first two."""
    yield at
    if type(value) in (dict, list):
        for name in value if type(value) is dict else range(len(value))[:3]:
            yield from places(value[name], (*at, name))


def changed(value, at, other):
    if not at:
        return other
    one = {**value} if type(value) is dict else [*value]
    one[at[0]] = changed(value[at[0]], at[1:], other)
    return one


@pytest.mark.parametrize("name", FILES)
def test_whatever_a_file_holds_is_drawn_or_left_out(name, tmp_path, monkeypatch):
    """Each value is replaced by all others; few are drawn, as that takes long."""
    count, choose = itertools.count(), page._pictures

    def some(*args):
        for picture in choose(*args):
            is_drawn = next(count) % 80 == 0 or (picture.name == "curves" and is_high)
            draw = functools.cache(picture.draw) if is_drawn else lambda theme: None
            yield replace(picture, draw=draw)

    monkeypatch.setattr(page, "_pictures", some)
    is_high, draw = False, functools.cache(png_of)
    monkeypatch.setattr(page, "png_of", lambda one: draw(one) if one else page.MARK.encode())
    monkeypatch.setattr(page, "THEMES", (LIGHT, LIGHT))
    monkeypatch.setattr(os, "fsync", lambda file: None)
    for one, value in FILES.items():
        if name != "record.json" or name == one:  # by itself it has no pictures
            write_lines(tmp_path / one, value if type(value) is list else [value])
    content = FILES[name]
    for at in places(content):
        for other in OTHERS:
            is_high = name == "history.jsonl" and other in (10**50, 1e308)
            told = changed(content, at, other)
            lines = told if type(told) is list else [told]
            (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
            is_nothing = name == "record.json" and not at and not (other and type(other) is dict)
            expected = pytest.raises(UserError, match="got none") if is_nothing else nullcontext()
            with expected:
                write_report([tmp_path], tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [
        {"best": {"step": 60, "splits": {"dev": {"labels": ["a"], "confusion": [[1, 2], [3]]}}}},
        {"best": {"step": 60, "splits": {"dev": {"errors": [{"loss": "x"}, 3]}}}},
        {"best": {"step": 60, "splits": {"dev": {"points": [[1]], "calibration": "?"}}}},
        {"best": {"step": 60, "splits": {"dev": [1]}}},
        {"best": [], "last": {"step": 60, "splits": 7}},
    ],
)
def test_what_is_not_as_it_was_written_is_left_out(content, tmp_path):
    run = make_run(tmp_path)
    (run / "outcomes.json").write_text(json.dumps(content))
    headings = Page(write_report([run])[0].read_text("utf-8")).headings
    assert headings == ["Runs", "Learning curves", "Time of updates", "What was run"]


def test_means_say_of_how_many_runs_they_are(tmp_path):
    runs = [make_run(tmp_path / str(seed), seed=seed) for seed in (1, 2, 3)]
    rows = [json.loads(line) for line in (runs[0] / "history.jsonl").read_text().splitlines()]
    for run in runs[1:]:
        write_lines(run / "history.jsonl", [row for row in rows if "split" not in row])
    cells = Page(write_report(runs)[0].read_text("utf-8")).cells
    assert "mean of 3 runs" in cells
    assert f"{rows[-1]['metrics']['acc']:.4f} (1 of 3)" in cells
    write_lines(runs[1] / "history.jsonl", rows)
    cells = Page(write_report(runs)[0].read_text("utf-8")).cells
    assert f"{rows[-1]['metrics']['acc']:.4f} ± 0.0000 (2 of 3)" in cells


def test_a_run_by_two_spellings_is_one(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(run)
    page = write_report([Path("run"), run, tmp_path / "link"])[0]
    assert page == Path("run/report.html")
    assert "mean of" not in page.read_text("utf-8")


def test_what_is_not_ours_stays_and_what_is_goes(tmp_path, capsys):
    run, place = make_run(tmp_path / "run"), tmp_path / "out"
    told(run, {"dev": outcome(["x", "y"]), "dev_2": outcome(["x", "z"])})
    write_report([run], place)
    kept = (place / "report/curves.png").read_bytes()
    (place / "report/confusion-9.png").write_bytes(b"mine")
    (place / "report/copy.png").write_bytes(kept)
    told(run, {"dev": outcome(["x", "y"])})
    pictures = {path.name for path in write_report([run], place)[1:]}
    assert "confusion-1.png" in pictures
    there = {path.name for path in (place / "report").iterdir()}
    assert there == pictures | {"confusion-9.png", "copy.png"}
    (place / "report/curves.png").write_bytes(b"mine")
    (tmp_path / "other/report.html").mkdir(parents=True)
    for output, name in ((place, "report/curves.png"), (tmp_path / "other", "report.html")):
        code, out, err = ended(capsys, "report", run, "--output", output)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{output / name}: was not written here; give another --output" in err
    assert (place / "report/curves.png").read_bytes() == b"mine"


def test_results_alone_are_a_report(tmp_path):
    scores = {"acc": 0.7, "average": 0.7, "en": 0.8, "de": 0.7, "sw": 0.6}
    write_lines(tmp_path / "results.jsonl", [{"signature": "m|xnli|test|acc", "metrics": scores}])
    headings = Page(write_report([tmp_path])[0].read_text("utf-8")).headings
    assert headings == ["Runs", "acc of test by language or part", "What was run"]


def test_reported_rows_are_those_of_tables():
    found = reported_by_part("ernie-m-xnli", ["ernie-m"])
    assert {*found} == {"ERNIE-M, Cross-lingual Transfer", "ERNIE-M, Translate-Train-All"}
    assert all({*LANGUAGES, "average"} == {*row} for row in found.values())
    assert found["ERNIE-M, Cross-lingual Transfer"]["en"] == 85.5


def test_the_command(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run")
    code, out, err = ended(capsys, "report", run, "--output", tmp_path / "out")
    place = tmp_path / "out"
    assert (code, err) == (0, "")
    assert out == f"{place}/report.html and 4 pictures in {place}/report\n"
    (tmp_path / "none").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own/report.html").write_text("<p>mine</p>")
    for words, problem in (
        ([tmp_path / "none"], f"error: {tmp_path}/none: expected history.jsonl, results.jsonl or"),
        ([run, tmp_path / "gone"], f"error: {tmp_path}/gone: expected history.jsonl"),
        ([run, "--output", tmp_path / "own"], "was not written here; give another --output"),
        ([run, "--output", run / "history.jsonl"], "give another --output"),
        ([run, "--reported", "ernie"], "ernie: there is no such table; known: bert-glue"),
        ([run, "--reported", "ernie-m-xnli", "--only", "x"], "--only x: ernie-m-xnli has no such"),
        ([], "arguments are required: RUN"),
    ):
        code, out, err = ended(capsys, "report", *words)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert problem in err
    assert (tmp_path / "own/report.html").read_text() == "<p>mine</p>"
    original = builtins.__import__

    def without(name, *args, **options):
        if name.startswith(("matplotlib", "cycler")):
            raise ImportError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    for command in ("report", "plot"):
        code, out, err = ended(capsys, command, run)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert 'pip install "paddlenlp-ext[plot]"' in err
    assert sorted(path.name for path in run.iterdir()) == ["history.jsonl", "results.jsonl"]
    assert console.COMMANDS["report"]

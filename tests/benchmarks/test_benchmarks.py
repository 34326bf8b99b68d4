"""The benchmarks: what is measured, how it is compared, and that every side does run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import inputs, jobs, machine, measure, prepare, tables, worker
from benchmarks.cases import SECTIONS, Case, Section
from benchmarks.document import replace_section
from benchmarks.jobs import ROOT, Batches, Job, Outcome
from benchmarks.measure import Record, Workplace, fields_of
from benchmarks.shapes import SHAPES, product_flops
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.nn.cpu import bfloat16

ALL_JOBS = [
    pytest.param(job, id=f"{name}, {case.name}, {side}")
    for name, section in SECTIONS.items()
    for case in section.cases
    for side, job in case.jobs.items()
]
LABELLED = Job(work="label", shape="tiny", passes=1, texts=jobs.SENTENCES)
TINY = Job(shape="tiny", passes=2, batches=Batches("grouped", 3, 19, 2))
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
VOCABULARY = [*WORDS, *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    (tmp_path / "vocabulary").mkdir()
    (tmp_path / "vocabulary/vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return Workplace(
        results=tmp_path / "results.jsonl",
        folder=tmp_path / "prepared",
        pythons={"ours": sys.executable, "transformers": sys.executable},
        sst2=ROOT / "data/glue",
        vocabulary=tmp_path / "vocabulary",
        multilingual=None,
        texts=ROOT / "data/glue/RTE",
    )


def section(**sides: Job) -> Section:
    return Section(1, (Case("a case", sides, rounds=2),))


def record(job: Job, side: str, number: int, seconds: float, **fields: object) -> Record:
    return Record(
        "steps", "a case", side, number, fields_of(job), seconds,
        machine="a machine", date="2026-11-21", **fields,
    )  # fmt: skip


@pytest.mark.parametrize("job", ALL_JOBS)
def test_jobs_are_whole(job: Job) -> None:
    assert Job.from_json(job.to_json()) == job
    if job.has_model:
        assert job.shape in SHAPES
        assert job.package != "paddlenlp" or SHAPES[job.shape].family == "bert"


def test_sides_of_a_case_do_the_same() -> None:
    """Peers differ in library, settings and, on sentences, in how they pad; never in the model."""
    for part in SECTIONS.values():
        for case in part.cases:
            models = {(job.work, job.shape) for job in case.jobs.values()}
            assert len(models) == 1 or not {"transformers", "paddlenlp"} & {
                job.package for job in case.jobs.values()
            }
            assert all(job.tuned for job in case.jobs.values() if job.package == "ours")


def test_ours_are_compared_with_all_ways_to_run_a_peer() -> None:
    """What differs in tuning and compiler alone is one thing to compare with, of the same type."""
    (steps,) = SECTIONS["steps"].cases
    ways = {one: [] for one, _ in steps.pairs}
    for one, others in steps.pairs:
        ways[one].append(others)
    assert {one for one in ways if "bfloat16" in one} == {
        "ours, bfloat16", "ours, bfloat16, all positions",
    }  # fmt: skip
    for one, found in ways.items():
        number = "bfloat16" if "bfloat16" in one else "float32"
        assert {steps.jobs[side].dtype for others in found for side in others} == {number}
        assert [len(others) for others in found] == ([4] if number == "bfloat16" else [4, 2])
    first = SECTIONS["start-up"].cases[0]
    assert {one for one, _ in first.pairs} == {"`import paddlenlp_ext`"}
    assert len(first.pairs) == 4


def test_every_section_has_its_place_in_the_document() -> None:
    document = program.DOCUMENT.read_text(encoding="utf-8")
    for name in SECTIONS:
        document = replace_section(document, name, [f"| {name} |"])
    assert all(f"| {name} |\n" in document for name in SECTIONS)


def test_a_section_is_replaced_and_nothing_else() -> None:
    document = "one\n<!-- begin a -->\nold\n<!-- end a -->\ntwo\n<!-- begin b -->\n<!-- end b -->\n"
    changed = replace_section(document, "a", ["new \\1"])
    assert changed == document.replace("\nold\n", "\n\nnew \\1\n\n")
    with pytest.raises(ValueError, match="0 sections"):
        replace_section(document, "c", [])


def test_products_are_counted() -> None:
    """Against a sum over the products themselves, two operations a multiplication."""
    width, inner, layers, batch, length = 6, 10, 2, 3, 5
    tokens = batch * length
    forward = [(tokens, width, width)] * 4 + [(tokens, width, inner), (tokens, inner, width)]
    forward += [(tokens, width, length)] * 2  # scores and mixing, over all heads together
    expected = 3 * layers * sum(2 * m * k * n for m, k, n in forward)
    assert product_flops(width, inner, layers, batch, length) == expected
    assert product_flops(768, 3072, 4, 16, 128) == pytest.approx(358e9, rel=0.01)
    read = batch * 2
    last = [(tokens, width, width)] * 2 + [(read, width, width)] * 2
    last += [(read, width, inner), (read, inner, width)] + [(read, width, length)] * 2
    saved = sum(2 * m * k * n for m, k, n in forward) - sum(2 * m * k * n for m, k, n in last)
    assert product_flops(width, inner, layers, batch, length, 2) == expected - 3 * saved


def test_each_round_begins_with_another_side() -> None:
    assert [measure.turn(["a", "b", "c"], number) for number in range(4)] == [
        ["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"],
    ]  # fmt: skip


def test_time_is_the_sum_of_each_batch_s_median() -> None:
    assert Outcome([[1.0, 10.0], [3.0, 90.0], [2.0, 20.0]]).seconds == 22.0


def test_ratios_are_of_pairs() -> None:
    job = Job(shape="tiny")
    ours = {n: record(job, "ours", n, s) for n, s in enumerate((2.0, 1.0, 4.0))}
    theirs = {n: record(job, "theirs", n, s) for n, s in ((0, 3.0), (2, 4.0), (3, 9.0))}
    compared = tables.ratio(ours, theirs, tables.seconds)
    assert compared == (1.25, 1.0, 1.5, 2)
    assert str(compared) == "**1.25x** (1.00 to 1.50, 2 pairs)"
    assert tables.ratio(ours, {}, tables.seconds) is None


def test_tables_hold_what_the_jobs_of_today_measured() -> None:
    job, other = Job(shape="tiny"), Job(shape="tiny", package="transformers")
    slow = replace(other, tuned=False)
    part = Section(1, (Case("a case", {"ours": job, "as installed": slow, "theirs": other}),))
    records = [
        record(job, "ours", 0, 0.5, rows=16, source="9 texts", versions={"x": "1.2"}),
        record(other, "theirs", 0, 1.0, rows=16),
        record(slow, "as installed", 0, 4.0, rows=16, load=3.0),
        record(replace(job, passes=9), "ours", 0, 77.0),
    ]
    table = tables.section_tables(records, "steps", part)
    row = "| a case | ours | 500 ms | theirs | 1.00 s | **2.00x** (2.00 to 2.00, 1 pairs) |"
    assert table[2:4] == [row, ""]
    assert table[-1] == (
        "a machine; 2026-11-21; from 9 texts; x 1.2; up to 3 other processes wanted to run. "
        "`make bench ONLY=steps`"
    )
    assert tables.section_tables([], "steps", part) == []


def test_all_sides_have_their_range_and_memory() -> None:
    job = Job(shape="tiny")
    part = Section(1, (Case("a case", {"ours": job}, unit="ms a sentence"),), tables=("sides",))
    records = [
        record(job, "ours", number, seconds, rows=10, peak_mb=megabytes)
        for number, (seconds, megabytes) in enumerate(
            ((0.12, 1200.0), (0.09, 1300.0), (0.1, 900.0))
        )
    ]
    table = tables.section_tables(records, "steps", part)
    assert table[4] == "| a case | ours | 10.0 ms | 9.0 ms to 12.0 ms | 1,200 MB |"


def test_what_a_machine_cannot_do_is_left_out(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, and is no failure; a side that is refused once is not tried again."""

    def refuse(*_: object) -> None:
        raise UserError("`use_amp`: this processor computes in float32 alone")

    side = SimpleNamespace(measure=refuse)
    monkeypatch.setattr(worker, "import_module", lambda _: side)
    job = Job(work="product", tuned=False)
    monkeypatch.setattr(sys, "argv", ["worker", job.to_json(), str(place.folder)])
    with pytest.raises(SystemExit) as ended:
        worker.main()
    assert ended.value.code == jobs.REFUSED
    said = subprocess.CompletedProcess([], jobs.REFUSED, "", capsys.readouterr().err)
    monkeypatch.setattr(jobs.subprocess, "run", lambda *_, **__: said)
    lines = list(measure.measure("steps", section(ours=job), place))
    assert lines == [
        "steps: a case: ours: left out: `use_amp`: this processor computes in float32 alone"
    ]
    assert measure.read(place.results) == []


def test_the_floor_is_what_products_take() -> None:
    part, steps = SECTIONS["floor"], SECTIONS["steps"].cases[0]
    (product,) = part.cases
    m, k, n = tables.PRODUCT
    made = []
    for side, rate in (("ours", 200), ("transformers", 150), ("transformers, bfloat16", 400)):
        fast = record(product.jobs[side], side, 0, 2e-9 * m * k * n / rate)
        made.append(replace(fast, section="floor", case=product.name))
    for side, took in (
        ("ours", 2 * 284 / 200),
        ("ours, all positions", 2 * 358 / 200),
        ("transformers, bfloat16", 4 * 358 / 400),
    ):
        made.append(replace(record(steps.jobs[side], side, 0, took), case=steps.name))
    table = tables.section_tables(made, "floor", part)
    assert table[2] == "the best rate they take so long, and no step can be faster:"
    assert table[6:8] == [
        "| float32 | ours 200, transformers 150 | 1.79 s | 1.42 s |",
        "| bfloat16 | transformers, bfloat16 400 | 0.89 s | 0.71 s |",
    ]
    assert [line.rpartition(" | ")[2] for line in table[11:14]] == ["50% |", "50% |", "25% |"]


def test_grouped_batches_run_from_the_longest_to_the_shortest() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(3, 60, 700)]
    batches = list(prepare.choose(lengths, Batches("grouped", 7, 60, 5)))
    longest = [max(lengths[row] for row in rows) for rows in batches]
    assert longest == sorted(longest, reverse=True)
    assert [len(rows) for rows in batches] == [7] * 5
    assert max(longest[0] - min(lengths[row] for row in batches[0]), 0) < 5
    mean = np.mean([lengths[row] for rows in batches for row in rows])
    assert mean == pytest.approx(np.mean(lengths), rel=0.1)
    shuffled = list(prepare.choose(lengths, Batches("shuffled", 7, 60, 5)))
    assert len({row for rows in shuffled for row in rows}) == 35
    assert np.ptp([lengths[row] for row in shuffled[0]]) > 10


def test_random_rows_hold_only_what_occurs() -> None:
    batches = Batches(size=50, length=40, distinct=90)
    ids = inputs.occurring_ids(batches, 1000)
    made = inputs.load(batches, 1000, Path())
    assert made.rows == 50
    assert len(set(ids.tolist())) == 90
    assert set(np.concatenate(made.batches[0]).tolist()) == set(ids.tolist())


def test_settings_of_the_shell_reach_no_side(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MALLOC_ARENA_MAX", "PADDLENLP_EXT_TUNE", "FLAGS_use_mkldnn"):
        monkeypatch.setenv(name, "1")
    assert not {name for name in jobs.environment() if name.startswith(jobs.SETTINGS)}
    assert jobs.environment()["PATH"] == os.environ["PATH"]


def test_measures_once_and_goes_on(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, trimmed and on two processes; what fails is told and leaves the others alone."""
    part = section(
        ours=TINY,
        trimmed=replace(TINY, trimmed=True, batches=Batches(size=2, length=7, distinct=40)),
        two=replace(TINY, processes=2, kernels=False),
        evaluated=replace(TINY, work="evaluate", padded=True),
        bfloat16=replace(TINY, work="evaluate", dtype="bfloat16"),
        labelled=LABELLED,
        tokenized=Job(work="tokenize", shape="bert", pairs=True, passes=2),
        missing=Job(work="command", command=("-c", "raise SystemExit('no such thing')")),
        nowhere=replace(TINY, package="paddlenlp"),
    )
    lines = list(measure.measure("steps", part, place, rounds=1))
    assert [line.split(": ")[2] for line in lines if "FAILED" in line] == ["missing"]
    assert "no such thing" in " ".join(lines)
    assert "steps: a case: nowhere: left out" in lines
    records = {one.side: one for one in measure.read(place.results)}
    refused = {line.split(": ")[2] for line in lines if "left out: " in line}
    assert refused == ({"bfloat16"} if bfloat16.lacking() else set())
    assert records.keys() | refused == {
        "ours", "trimmed", "two", "evaluated", "bfloat16", "labelled", "tokenized",
    }, lines  # fmt: skip
    assert all(one.seconds > 0 and one.machine == machine.describe() for one in records.values())
    assert records["ours"].rows == records["two"].rows == records["evaluated"].rows == 6
    assert records["labelled"].rows == worker.LABELLED
    assert records["ours"].peak_mb > 50
    assert re.fullmatch(r"4,000 sentences of \d\d\.\d tokens", records["ours"].source)
    assert re.fullmatch(r"\d+ texts", records["tokenized"].source)
    assert records["trimmed"].source == ""
    assert set(records["ours"].versions) == {"Python", "paddlenlp-ext", "paddlepaddle"}
    monkeypatch.setattr(measure, "run", None)
    again = section(**{side: job for side, job in part.cases[0].jobs.items() if side in records})
    assert list(measure.measure("steps", again, place, rounds=1)) == []
    nothing = list(measure.measure("steps", again, place, 2, lambda case, side: side == case))
    assert nothing == []
    table = tables.section_tables(list(records.values()), "steps", again)
    assert [line.split(" | ")[3] for line in table[2:7]].count("two") == 1


@pytest.mark.parity
def test_transformers_side(place: Workplace) -> None:
    pytest.importorskip("torch")
    theirs = replace(TINY, package="transformers")
    part = section(
        trained=theirs,
        padded=replace(theirs, tuned=False, batches=Batches("padded", 3, 23, 2)),
        bfloat16=replace(theirs, dtype="bfloat16"),
        evaluated=replace(theirs, work="evaluate"),
        labelled=replace(LABELLED, package="transformers"),
        tokenized=Job(work="tokenize", package="transformers", shape="bert", passes=2),
        product=Job(work="product", package="transformers", passes=2),
    )
    lines = list(measure.measure("steps", part, place, rounds=1))
    assert len(measure.read(place.results)) == 7, lines


@pytest.mark.parity
@pytest.mark.slow
def test_torch_compile(place: Workplace) -> None:
    pytest.importorskip("torch")
    theirs = replace(TINY, package="transformers", compiled=True)
    part = section(
        trained=theirs, labelled=replace(LABELLED, package="transformers", compiled=True)
    )
    lines = list(measure.measure("steps", part, place, rounds=1))
    assert len(measure.read(place.results)) == 2, lines


def test_onnx_runtime_side(place: Workplace) -> None:
    for name in ("onnxruntime", "paddle2onnx", "transformers"):
        pytest.importorskip(name)
    place = replace(place, pythons={"onnxruntime": sys.executable})
    evaluated = replace(TINY, work="evaluate", package="onnxruntime")
    part = section(
        evaluated=evaluated,
        installed=replace(evaluated, tuned=False),
        labelled=replace(LABELLED, package="onnxruntime"),
    )
    lines = list(measure.measure("steps", part, place, rounds=1))
    assert len(measure.read(place.results)) == 3, lines


@pytest.mark.paddlenlp
def test_paddlenlp_side(place: Workplace) -> None:
    python = os.environ.get("PADDLENLP_PYTHON", "")
    if not python:
        pytest.skip("PADDLENLP_PYTHON does not name the python of an environment with it")
    place = replace(place, pythons={"paddlenlp": python})
    part = section(trained=replace(TINY, package="paddlenlp", batches=Batches(size=2, length=9)))
    lines = list(measure.measure("steps", part, place, rounds=1))
    assert len(measure.read(place.results)) == 1, lines


def test_tables_are_made_again_without_measuring(tmp_path: Path) -> None:
    job = SECTIONS["start-up"].cases[-1].jobs["ours"]
    kept = {"section": "start-up", "case": "`run_glue.py --help`", "side": "ours", "round": 0,
            "job": fields_of(job), "seconds": 0.123, "machine": "m", "date": "d"}  # fmt: skip
    (tmp_path / "results.jsonl").write_text(json.dumps(kept) + "\n")
    document = tmp_path / "document.md"
    document.write_text("<!-- begin start-up -->\n<!-- end start-up -->\n")
    flags = ["--tables_only", "--folder", str(tmp_path), "--document", str(document)]
    assert program.main([*flags, "--only", "start-up,steps"]) == 0
    assert "| `run_glue.py --help` | ours | 123 ms | | | |" in document.read_text()
    program.forget(tmp_path / "results.jsonl", ["start-up"])
    assert measure.read(tmp_path / "results.jsonl") == []
    with pytest.raises(SystemExit):
        program.parse_args(["--only", "stepps"])


def test_sides_and_works_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides by their whole names, works and sides to leave out by parts of theirs."""
    chosen: list[tuple[str, str]] = []

    def note(name, section, place, rounds, wanted):
        jobs = ((case.name, side) for case in section.cases for side in case.jobs)
        chosen.extend(job for job in jobs if wanted(*job))
        return ()

    monkeypatch.setattr(program, "measure", note)
    flags = ["--folder", str(tmp_path), "--leave_out"]
    sides = ["--only", "latency,steps", "--sides", "ours", "ONNX Runtime"]
    assert program.main([*flags, "MiniLM", "PaddleNLP", *sides]) == 0
    assert chosen == [
        ("BERT-base's shape", "ours"),
        ("BERT-base's shape", "ONNX Runtime"),
        ("BERT-base's width, 4 layers, 16 x 128", "ours"),
    ]
    chosen.clear()
    assert program.main([*flags, "ours,", "transformers,", "NLP,", "--only", "steps"]) == 0
    assert [side for _, side in chosen] == ["ours", "transformers", "PaddleNLP"]

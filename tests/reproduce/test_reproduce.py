"""Tables are run again: what runs, what is read of it, and what comes of kills and failures."""

from __future__ import annotations

import csv
import json
import math
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
from scipy import stats

from benchmarks import pawsx_lines
from paddlenlp_ext import __main__ as console
from paddlenlp_ext.errors import UserError, WeightsError
from paddlenlp_ext.models.auto import AutoModel
from paddlenlp_ext.reproduce import work
from paddlenlp_ext.reproduce.chance import from_measured, from_reported
from paddlenlp_ext.reproduce.readme import filled, update
from paddlenlp_ext.reproduce.record import collect, keep
from paddlenlp_ext.reproduce.runs import BEGINNINGS, Run, grid_of, plan
from paddlenlp_ext.reproduce.tables import known_tables, read_table
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from tests.docs.test_readmes import READMES, ROOT, commands, script_call, script_of, table_rows
from tests.scripts import multilingual
from tests.scripts.test_bert_run_glue import tiny_bert

STAND_IN = Path(__file__).with_name("stand_in.py")
PAGES = ("table.md", "table.csv", "table.tex", "table.json")
TABLE = """
title = "A stand-in"
source = "nowhere"
columns = ["Task", "Metric"]
command = "python {program}"
digits = 1
seeds = 3

[arguments]
learning_rate = 1.0
ended = "{{ended}}"

[grid]
learning_rate = [1.0, 1.5]

[[rows]]
names = ["One", "acc"]
reported = [52.5]
numbers = ["dev acc"]
arguments = {{ task_name = "one" }}

[[rows]]
names = ["Two", "acc / F1"]
reported = [90.0, 20.0]
numbers = ["dev acc", "dev f1"]
arguments = {{ task_name = "two" }}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "stand-in.toml"
    path.write_text(TABLE.format(program=STAND_IN))
    return path


def call(table: Path, *words: object, folder: str = "out") -> list[str]:
    """The words of a command of a table that writes down which runs have ended."""
    place = table.parent
    (place / "ended.txt").touch()
    before, after = [*words], []
    if "--" in before:
        at = before.index("--")
        before, after = before[:at], before[at:]
    options = ["--output_dir", place / folder, "--set", f"ended={place / 'ended.txt'}"]
    return [str(word) for word in ("reproduce", table, *options, *before, *after)]


def run(table: Path, *words: object, folder: str = "out") -> int:
    with pytest.raises(SystemExit) as end:
        console.main(call(table, *words, folder=folder))
    assert isinstance(end.value.code, int)
    return end.value.code


def ended(table: Path) -> list[str]:
    return sorted((table.parent / "ended.txt").read_text().splitlines())


def page(table: Path, name: str = "table.md", folder: str = "out") -> str:
    return (table.parent / folder / "stand-in" / name).read_text()


def test_table_has_the_best_on_dev_and_its_difference(table, capsys):
    assert run(table) == 0
    # Seeds 1 to 3 give 51, 52, 53; t(0.975, 2) = 4.303, sd 1, one reported run: 4.303*sqrt(4/3).
    assert "| One | acc | 52.5 | 52.0 ± 1.0 (3 seeds) | -0.5 ± 5.0, within chance |" in page(table)
    two = (
        "| Two | acc / F1 | 90.0 / 20.0 | 52.0 ± 1.0 / 26.0 ± 0.5 (3 seeds) | "
        "-38.0 ± 5.0, more than chance / +6.0 ± 2.5, more than chance |"
    )
    assert two in page(table)
    assert "signature of its first run: `tiny|one|dev|acc|seed1`" in page(table)
    assert "--task_name one" in page(table)
    assert str(table.parent) not in page(table), "no path of this machine"
    rows = [*csv.DictReader(page(table, "table.csv").splitlines())]
    assert [float(row["mean"]) for row in rows] == pytest.approx([52, 52, 26])
    assert [row["is_chance"] for row in rows] == ["True", "False", "False"]
    assert r"One & acc & 52.5 & 52.0 $\pm$ 1.0 (3 seeds) &" in page(table, "table.tex")
    assert capsys.readouterr().out == page(table)


def test_complete_runs_are_not_done_again(table):
    assert run(table, "--only", "one") == 0
    assert ended(table) == [f"one 1.0 {seed} False" for seed in (1, 2, 3)]
    assert "| Two | acc / F1 | 90.0 / 20.0 | not yet |  |" in page(table)
    assert run(table, "--seeds", 4) == 0
    once = [f"{task} 1.0 {seed} False" for task in ("one", "two") for seed in (1, 2, 3, 4)]
    assert ended(table) == once
    assert run(table, "--seeds", 4) == 0
    assert ended(table) == once
    assert "52.5 ± 1.3 (4 seeds)" in page(table)


def test_grid_chooses_on_dev_and_keeps_what_was_run(table):
    assert run(table, "--only", "one") == 0
    assert run(table, "--only", "one", "--grid", "--jobs", 2) == 0
    assert len(ended(table)) == len({*ended(table)}) == 6
    assert "| One | acc | 52.5 | 78.0 ± 1.5 (3 seeds)" in page(table)
    assert "--learning_rate 1.5" in page(table)


def test_search_asks_optuna_and_goes_on(table, capsys, monkeypatch):
    optuna = pytest.importorskip("optuna")
    ranges = "[search]\nlearning_rate = { low = 1.0, high = 1.9 }\n"
    table.write_text(table.read_text().replace("[grid]", f"{ranges}\n[grid]"))
    words = ["--only", "one", "--seeds", 2, "--search", 4]
    assert run(table, *words, folder="alone") == 0
    alone = ended(table)
    assert len(alone) == 8
    (table.parent / "ended.txt").unlink()
    told = optuna.study.Study.tell

    def killed(self, *values, **options):
        monkeypatch.setattr(optuna.study.Study, "tell", told)
        raise KeyboardInterrupt

    monkeypatch.setattr(optuna.study.Study, "tell", killed)  # after the first trial's runs
    assert run(table, *words) == 130
    assert run(table, *words) == 0
    assert ended(table) == alone, "the same settings, each run once"
    best = max(float(line.split()[1]) for line in alone)
    assert f"--learning_rate {best}" in page(table)
    assert page(table) == page(table, folder="alone")
    assert run(table, *words) == 0, "once more, when all is complete"
    assert ended(table) == alone
    assert page(table) == page(table, folder="alone")
    assert run(table, "--search", 1, "--grid") == 2
    assert "not allowed with argument --search" in capsys.readouterr().err


def test_trials_that_failed_are_run_again_by_the_next_search(table):
    pytest.importorskip("optuna")
    ranges = "[search]\nlearning_rate = [1.0, 1.5]\n"
    table.write_text(table.read_text().replace("[grid]", f"{ranges}\n[grid]"))
    words = ["--only", "one", "--seeds", 1, "--search", 3]
    program = table.read_text()
    table.write_text(program.replace(str(STAND_IN), str(table.parent / "none.py")))
    for _ in range(2):
        assert run(table, *words) == 1
        assert "| One | acc | 52.5 | not yet |  |" in page(table)
    table.write_text(program)
    for _ in range(2):
        assert run(table, *words) == 0
        tried = {line.split()[1] for line in ended(table)}
        assert len(ended(table)) == len(tried) > 0
        best = 51 * max(map(float, tried))
        assert f"| One | acc | 52.5 | {best:.1f} (1 seed)" in page(table)


@pytest.mark.parametrize("ranges", ["[1.0, 1.5, 2.0]", "{ low = 1.0, high = 2.0 }"])
def test_a_search_with_other_ranges_is_refused(table, capsys, ranges):
    pytest.importorskip("optuna")
    text = table.read_text().replace("[grid]", "[search]\nlearning_rate = [1.0, 1.5]\n\n[grid]")
    table.write_text(text)
    words = ["--only", "one", "--seeds", 1, "--search"]
    assert run(table, *words, 2) == 0
    alone = ended(table), page(table)
    table.write_text(text.replace("learning_rate = [1.0, 1.5]", f"learning_rate = {ranges}", 1))
    for more in ("", "weight_decay = [0.0, 0.1]\n"):
        table.write_text(table.read_text().replace("[grid]", f"{more}[grid]"))
        assert run(table, *words, 4) == 2
        assert "search.log: was searched with other ranges" in capsys.readouterr().err
    table.write_text(text)
    assert run(table, *words, 2) == 0
    assert (ended(table), page(table)) == alone


def test_a_trial_without_all_of_its_settings_is_none(table):
    """A process was killed while it chose them."""
    optuna = pytest.importorskip("optuna")
    ranges = "[search]\nlearning_rate = { low = 1.0, high = 1.9 }\n"
    table.write_text(table.read_text().replace("[grid]", f"{ranges}\n[grid]"))
    words = ["--only", "one", "--seeds", 1, "--search"]
    assert run(table, *words, 3, folder="alone") == 0
    alone = ended(table)
    (table.parent / "ended.txt").unlink()
    assert run(table, *words, 1) == 0
    file = str(table.parent / "out/stand-in/one/search.log")
    journal = optuna.storages.journal.JournalFileBackend(file)
    optuna.load_study(study_name="one", storage=optuna.storages.JournalStorage(journal)).ask()
    assert run(table, *words, 3) == 0
    assert ended(table) == alone


def test_search_needs_optuna(table, capsys, monkeypatch):
    assert run(table, "--search", 2) == 2
    assert "--search: stand-in has no ranges to search in" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "optuna", None)
    table.write_text(table.read_text().replace("[grid]", "[search]\na = [1]\n\n[grid]"))
    assert run(table, "--search", 2) == 2
    said = "--search needs Optuna: pip install 'paddlenlp-ext[search]'; --grid does without"
    assert said in capsys.readouterr().err
    assert not (table.parent / "out").exists()


def test_failures_are_listed_and_not_counted(table, capsys):
    assert run(table, "--only", "one", "--", "--fails", 2) == 1
    err = capsys.readouterr().err
    assert "failed: one learning_rate=1.0 seed 2: exit code 1: error: seed 2 is a bad one" in err
    assert "| One | acc | 52.5 | 52.0 ± 1.4 (2 of 3 seeds) |" in page(table)
    assert run(table, "--only", "one", "--seeds", 1, "--", "--fails", 2) == 0
    assert "51.0 (1 seed) | -1.5, one seed: no interval |" in page(table)


def test_runs_that_ended_worth_nothing_are_not_counted(table, capsys):
    assert run(table, "--only", "one", "--", "--diverges", 2) == 1
    said = "failed: one learning_rate=1.0 seed 2: it ended without the numbers of its row"
    assert said in capsys.readouterr().err
    assert "| One | acc | 52.5 | 52.0 ± 1.4 (2 of 3 seeds) |" in page(table)


def only_run(table: Path, folder: Path, peer: str = "") -> Run:
    """The one run of a table of one row and seed, or its peer's, whose folder is made."""
    table.write_text(table.read_text().replace("[grid]", f"{peer}\n[grid]"))
    read = read_table(str(table))
    *_, one = plan(read, read.rows[:1], folder, seeds=1)
    one.folder.mkdir(parents=True)
    return one


def test_a_run_that_ended_early_for_what_is_not_finite_counts(table, tmp_path):
    """It has a best model; one that failed for it has none that it would end with."""
    one = only_run(table, tmp_path)
    rows = [
        {"step": step, "loss": loss, "split": "dev", "metrics": {"acc": 0.5}}
        for step, loss in ((1, 1.0), (2, None))
    ]
    (one.folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = {"signature": "m|t|dev|acc", "metrics": {"acc": 0.5}, "step": 2, "loss": None}
    (one.folder / "results.jsonl").write_text(json.dumps(result) + "\n")
    for ended, counts in (("failed: step 2", False), ("ended early", True), (3, False)):
        (one.folder / "record.json").write_text(json.dumps({"ended": ended}))
        assert (one.measured() is not None) == counts
    last = replace(one, table=replace(one.table, choice="last"))
    (one.folder / "record.json").write_text('{"ended": "ended early"}')
    assert last.measured() is None


def test_a_peer_without_a_number_is_not_chosen(table, tmp_path):
    peer = f'[peer]\nname = "theirs"\ncommand = "python {STAND_IN}"\n'
    one = only_run(table, tmp_path, peer)
    said = {"results": {"dev": {"f1": math.nan, "acc": 0.5}}}
    deep = '{"results": ' + "[" * 100_000
    (one.folder / "log.txt").write_text(f"{json.dumps(said)}\n{deep}\n")
    found = one.measured()
    assert found is not None
    assert (found.values["dev acc"], found.score) == (0.5, -math.inf)


@pytest.mark.parametrize("state", ['{"asked": 3, "flags": null, "seconds": "x", "spent": []}', "["])
def test_a_damaged_state_is_none(table, state):
    assert run(table, "--only", "one", "--seeds", 1) == 0
    (path,) = (table.parent / "out").rglob("run.json")
    path.write_text(state)
    assert run(table, "--only", "one", "--seeds", 1) == 0
    (path.parent / "results.jsonl").unlink()
    assert run(table, "--only", "one", "--seeds", 1) == 0
    assert json.loads(path.read_text())["seconds"] > 0


@pytest.mark.parametrize("flag", [("--metric_for_best_model", "loss"), ("--metric_for=eval_loss",)])
def test_the_best_step_is_that_of_the_metric_that_runs_are_given(table, flag):
    assert run(table, "--only", "one", "--seeds", 1, "--", *flag) == 0
    assert "| One | acc | 52.5 | 25.5 (1 seed) |" in page(table), "of step 1, not 2"


@pytest.mark.parametrize("flag", [("--seed", 42), ("--output_dir=x",), ("--seed",)])
def test_flags_that_each_run_has_of_its_own_are_refused(table, capsys, flag):
    assert run(table, "--", *flag) == 2
    name = str(flag[0]).partition("=")[0]
    assert f"{name}: each run has its own; leave it out" in capsys.readouterr().err
    assert not (table.parent / "out").exists()


def test_a_run_whose_last_evaluation_goes_on_is_not_complete(table, tmp_path):
    one = only_run(table, tmp_path)

    def write(name: str, *rows: dict[str, object]) -> None:
        (one.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def row(step: int, split: str, acc: object) -> dict[str, object]:
        return {"step": step, "loss": 1.0, "split": split, "metrics": {"acc": acc}}

    earlier = [row(1, "dev", 0.1), row(1, "other", 0.5)]
    write("results.jsonl", {"signature": "m|t|dev|acc", "metrics": {"acc": 0.2}, "step": 2})
    write("history.jsonl", *earlier, row(2, "dev", 0.2))
    assert one.measured() is None
    write("history.jsonl", *earlier, row(2, "dev", 0.2), row(2, "other", "much"), {"split": "dev"})
    assert one.measured() is None, "rows that are none"
    write("history.jsonl", *earlier, row(2, "dev", 0.2), row(2, "other", 0.1))
    found = one.measured()
    assert found is not None
    assert (found.values["dev acc"], found.score) == (0.1, 0.3)


def test_a_folder_of_another_command_is_refused(table, capsys):
    assert run(table, "--only", "one", "--", "--fails", 2) == 1
    assert run(table, "--only", "one") == 2  # seed 2 is not there, and was another run
    said = capsys.readouterr().err
    assert "there is a run of another command (other: --fails 2); give another --output_dir" in said


@pytest.mark.parametrize("words", [(), ("--dry_run",), ("--seeds", 1)])
def test_complete_runs_of_another_command_do_not_count(table, capsys, words):
    assert run(table, "--only", "one", "--", "--seconds", 0.01) == 0
    before = page(table)
    assert run(table, *words) == 2
    said = capsys.readouterr().err
    assert "one/learning_rate=1.0/seed-1: there is a run of another command" in said
    assert "(other: --seconds 0.01)" in said
    assert page(table) == before
    table.write_text(table.read_text().replace("learning_rate = 1.0", "learning_rate = 1"))
    assert run(table, "--only", "one", "--", "--seconds", 0.01) == 0, "in a folder of its own"
    assert len(ended(table)) == 6


def test_complete_runs_count_wherever_their_data_are_now(table):
    assert run(table, "--only", "one") == 0
    assert run(table, "--only", "one", "--set", "ended=elsewhere") == 0
    lines = ["learning_rate = 1.0", 'ended = "{ended}"']
    table.write_text(table.read_text().replace("\n".join(lines), "\n".join(reversed(lines))))
    assert run(table, "--only", "one") == 0
    assert len(ended(table)) == 3


def test_rows_that_are_not_asked_for_stay_as_they_are(table):
    assert run(table, "--only", "one", "--grid", "--", "--seconds", 0.01) == 0
    assert "| Two | acc / F1 | 90.0 / 20.0 | not yet |" in page(table)
    assert run(table, "--only", "two") == 0
    one, two = [line for line in page(table).splitlines() if line.startswith("- ")]
    assert "--learning_rate 1.5" in one
    assert "--seconds 0.01" in one
    assert "--learning_rate 1.0" in two
    assert "--seconds" not in two
    assert "| 78.0 ± 1.5 (3 seeds) |" in page(table)


def test_a_record_of_another_form_is_told_with_its_cure(table, capsys):
    assert run(table, "--only", "one", "--seeds", 1) == 0
    before = page(table)
    record = table.parent / "out/stand-in/table.json"
    more = '{"command": "x", "planned": 1, "values": {"1": [1.0, 2.0]}}'
    for side, why in (
        ('{"other": 1}', "unknown key 'other'"),
        ('{"command": "x", "planned": "1"}', "one.paddlenlp_ext.planned must be a whole number"),
        ('{"command": "x"}', "one.paddlenlp_ext.planned is missing"),
        (more, "one has 2 numbers, not 1"),
        (more.replace("}}", '}, "numbers": ["dev f1"]}'), "one has dev f1, the table dev acc"),
    ):
        record.write_text(f'{{"one": {{"paddlenlp_ext": {side}}}}}')
        assert run(table, "--only", "one", "--seeds", 1) == 2
        said = capsys.readouterr().err
        assert f"table.json: is no record of this table: {why}" in said
        assert "delete it, and run the table again" in said
    record.unlink()
    assert run(table, "--only", "one", "--seeds", 1) == 0
    assert page(table) == before


def test_peer_stands_beside(table):
    peer = f'[peer]\nname = "them"\ncommand = "python {STAND_IN}"\narguments = {{ peer = true }}\n'
    content = table.read_text().replace("reported = [52.5]\n", "").replace("[90.0, 20.0]", "[]")
    table.write_text(content.replace("[grid]", f"{peer}\n[grid]"))
    assert run(table, "--jobs", 3) == 0
    head, _, one, two = [line for line in page(table).splitlines() if line.startswith("|")]
    assert head == "| Task | Metric | paddlenlp_ext | them | Difference (them) |".replace(
        " (them)", ""
    )
    # Both deviate by 1: 4 degrees of freedom, 2.776 * sqrt(2/3).
    assert "| 52.0 ± 1.0 (3 seeds) | 62.0 ± 1.0 (3 seeds) | -10.0 ± 2.3, more than chance |" in one
    assert "| 25.0 ± 0.0" in two.replace("/ ", "| ")
    assert "torch 2.0" in page(table)
    assert len(ended(table)) == 12
    assert run(table, "--only", "one", "--grid", "--jobs", 3) == 0
    assert "| 78.0 ± 1.5 (3 seeds) | 88.0 ± 1.5 (3 seeds) |" in page(table)


def test_other_settings_of_a_script_stand_beside(table, monkeypatch):
    monkeypatch.setitem(BEGINNINGS, "paddlenlp-ext", [sys.executable, str(STAND_IN)])
    peer = (
        '[peer]\nname = "twice"\ncommand = "paddlenlp-ext"\narguments = { learning_rate = 2.0 }\n'
    )
    content = table.read_text().replace("reported = [52.5]\n", "")
    both = "[ours]\nseconds = 0.1\n\n"
    table.write_text(content.replace("[grid]\nlearning_rate = [1.0, 1.5]\n", both + peer))
    assert run(table, "--only", "one", "--jobs", 2) == 0
    asked = [json.loads(path.read_text())["asked"] for path in table.parent.rglob("run.json")]
    assert len(asked) == 6
    assert all("--seconds" in flags for flags in asked)
    # 2.94 degrees of freedom: 3.22 * sqrt(5/3).
    measured = "| 52.0 ± 1.0 (3 seeds) | 104.0 ± 2.0 (3 seeds) |  | -52.0 ± 4.2, more than chance |"
    assert measured in page(table)
    assert run(table, "--only", "one") == 0
    assert len(ended(table)) == 6


def test_dry_run_does_nothing(table, capsys):
    assert run(table, "--dry-run") == 0
    out = capsys.readouterr().out
    assert out.count("--seed") == 6
    assert "6 runs, 0 complete; 6 left; their time is known when one is complete" in out
    assert not (table.parent / "out").exists()
    assert run(table, "--only", "one", "--seeds", 1) == 0
    capsys.readouterr()
    (state,) = (table.parent / "out").rglob("run.json")
    state.write_text(json.dumps(json.loads(state.read_text()) | {"seconds": 21}))
    assert run(table, "--dry_run", "--only", "one") == 0
    out = capsys.readouterr().out
    assert out.startswith("# complete: python")
    assert "3 runs, 1 complete; 2 left: about 42 s, 1 at a time" in out
    peer = '[peer]\nname = "theirs"\ncommand = "paddlenlp-ext train glue"\n\n[grid]'
    table.write_text(table.read_text().replace("[grid]", peer, 1))
    assert run(table, "--dry_run", "--only", "two", "--seeds", 1, folder="an out") == 0
    lines = capsys.readouterr().out.splitlines()[:2]
    folders = [shlex.split(line)[-2:] for line in lines]
    where = table.parent / "an out/stand-in/two/learning_rate=1.0"
    assert folders == [["--output_dir", str(where / name)] for name in ("seed-1", "theirs-seed-1")]


def test_devices_are_shared_out(table, monkeypatch):
    program = table.parent / "says.py"
    program.write_text(
        "import os, runpy, sys\n"
        "print('device', os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'])\n"
        f"runpy.run_path({str(STAND_IN)!r}, run_name='__main__')\n"
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    table.write_text(table.read_text().replace(str(STAND_IN), str(program)))
    assert run(table, "--devices", "0,3", "--", "--seconds", 0.2) == 0
    logs = [path.read_text().split() for path in (table.parent / "out").rglob("log.txt")]
    assert {words[1] for words in logs} == {"0", "3"}
    assert {words[2] for words in logs} == {str(max(1, os.cpu_count() // 2))}


def test_mistakes_are_one_line(table, capsys, monkeypatch):
    monkeypatch.chdir(table.parent)
    wrong = {
        "reproduce": "give a TABLE (bert-glue",
        "reproduce nothing": "nothing: there is no such table; known: bert-glue",
        f"reproduce {table} --only three": "--only three: stand-in has no such row; it has one",
        f"reproduce {table}": "stand-in needs --set ended=PATH: a place",
        f"reproduce {table} --devices a": "expected numbers of GPUs as 0,1, got 'a'",
        "reproduce ernie-m-xnli --grid": "--grid: ernie-m-xnli has none",
        f"reproduce --update {STAND_IN}": "has no table to fill",
    }
    for words, said in wrong.items():
        with pytest.raises(SystemExit) as end:
            console.main(words.split())
        assert end.value.code == 2
        assert said in capsys.readouterr().err
        assert not (table.parent / "reproduced").exists()
    table.write_text(table.read_text().replace(f"python {STAND_IN}", "nosuchprogram run"))
    assert run(table) == 2
    said = "error: nosuchprogram: cannot be started: No such file or directory; mend 'command' of"
    assert said in capsys.readouterr().err
    table.write_text(TABLE.format(program=STAND_IN))
    for before, after, said in (
        ("columns", "headers", "unknown key 'headers'"),
        ('names = ["One", "acc"]', 'names = ["One"]', "expected 2 names"),
        ("[52.5]", "[52.5, 1.0]", "row one: 2 reported numbers for 1"),
        ("Two", "One", "row one: another row has the same name"),
        ("title =", "title", "expected a table: Expected '='"),
        ("title =", "heading =", "unknown key 'heading'"),
        ('title = "A stand-in"', "", "title is missing"),
        ("seeds = 3", "seeds = 0", "seeds must be 1 or more, not 0"),
        ("seeds = 3", 'seeds = "3"', "seeds must be a whole number, not '3'"),
        ("digits = 1", 'choice = "first"', "choice must be one of best, last, not 'first'"),
        ("[52.5]", '["52.5"]', r"rows\[0\].reported\[0\] must be a number, not '52.5'"),
        ("[1.0, 1.5]", "[]", "learning_rate: expected values to go through"),
        (
            "[grid]",
            "[search]\nlr = { lo = 1 }\n[grid]",
            "unknown key 'lo' in search.lr; known: low",
        ),
        ("[grid]", "[peer]\nname = 1\ncommand = 'x'\n[grid]", "peer.name must be text, not 1"),
        ("digits = 1", 'digits = 1\nname = "x"', "unknown key 'name'; a table has the name of its"),
        ("digits = 1", "digits = 1\nscale = 0", "scale must be above 0, not 0"),
        (
            "[1.0, 1.5]",
            "[1.0, 1.0]",
            "grid.learning_rate: expected values to go through, each once",
        ),
        ("[grid]", "[grid]\nseed = [1, 2]", "grid.seed: each run has its own"),
        ("[arguments]", "[arguments]\nseed = 1", "row one: argument seed: each run has its own"),
        ("reported = [52.5]", "reported = [52.5]\nminutes = -3", "minutes must be above 0, not -3"),
        (
            'command = "python ',
            'command = "python {data} ',
            "expected places such as {data} in arg",
        ),
        ('["dev acc"]', '["acc"]', "row one: expected 'numbers' such as 'dev acc'"),
        ('"One"', '"-"', r"rows\[0\]: expected a first name with letters or digits"),
    ):
        other = table.with_name("wrong.toml")
        other.write_text(table.read_text().replace(before, after, 1))
        with pytest.raises(UserError, match=said.replace("'", ".")):
            read_table(str(other))


def test_rows_may_have_names_in_any_script(table):
    text = table.read_text().replace('"One"', '"情感 分析"').replace('"Two"', '"Übersetzung"')
    table.write_text(text)
    assert [row.key for row in read_table(str(table)).rows] == ["情感-分析", "übersetzung"]
    assert run(table, "--only", "情感 分析", "--seeds", 1) == 0
    assert (table.parent / "out/stand-in/情感-分析").is_dir()


def test_marks_of_markdown_and_latex_are_escaped(table):
    names = r"['a|b \{$x^2$\} ~', 'acc']"
    table.write_text(table.read_text().replace('["One", "acc"]', names))
    assert run(table, "--only", r"a|b \{$x^2$\} ~", "--seeds", 1) == 0
    assert r"| a\|b \{$x^2$\} ~ | acc |" in page(table)
    latex = (table.parent / "out/stand-in/table.tex").read_text()
    spelled = r"a|b \textbackslash{}\{\$x\textasciicircum{}2\$\textbackslash{}\}"
    assert rf"{spelled} \textasciitilde{{}} & acc & " in latex


def test_killed_at_ten_moments_it_ends_with_the_same_table(table):
    words = ["--jobs", 2, "--grid", "--", "--seconds", 0.2]
    assert run(table, *words, folder="alone") == 0
    alone = ended(table)
    (table.parent / "ended.txt").unlink()
    random.seed(7)
    command = [sys.executable, "-m", "paddlenlp_ext", *call(table, *words)]
    kills = 0
    while kills < 10:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.2, 0.6))
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        if len(ended(table)) == len(alone):
            break
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert kills == 10
    assert ended(table) == alone, "each run once"
    for name in PAGES:
        assert page(table, name) == page(table, name, "alone")


def test_ctrl_c_ends_the_runs(table):
    command = [
        sys.executable,
        "-m",
        "paddlenlp_ext",
        *call(table, "--jobs", 2, "--", "--seconds", 30),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    logs = table.parent / "out"
    while len([*logs.rglob("run.json")]) < 2:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    for path in logs.rglob(".running"):  # nobody has it any more
        subprocess.run(["flock", "--nonblock", path, "true"], check=True)
    assert "| One | acc | 52.5 | not yet |  |" in page(table)


def test_processes_end_also_where_nothing_can_be_written(table, monkeypatch):
    """And it is said that they were ended by Ctrl-C."""
    gone: list[Path] = []

    def unwritable(path: Path) -> Any:
        gone.append(path)
        raise WeightsError(f"{path}: cannot be written")

    def interrupted(seconds: float) -> None:
        monkeypatch.setattr(work, "replace_file", unwritable)
        raise KeyboardInterrupt

    monkeypatch.setattr(work.time, "sleep", interrupted)
    monkeypatch.setattr(work, "PATIENCE", 0)
    read = read_table(str(table))
    runs = plan(read, read.rows[:1], table.parent / "out", seeds=2, more=["--seconds", "30"])
    with pytest.raises(KeyboardInterrupt):
        work.do(runs, {"ended": "x"}, jobs=2, devices=[], ended=lambda *told: None)
    assert len(gone) == 2
    for one in runs:  # nobody has it any more
        subprocess.run(["flock", "--timeout", "9", one.folder / ".running", "true"], check=True)


MARKS = "<!-- reproduce {name} -->\n{body}<!-- reproduced -->\n"


def test_measured_tables_stay_where_there_is_no_record(table, caplog):
    assert run(table, "--seeds", 1) == 0
    page = table.parent / "page.md"
    page.write_text(MARKS.format(name=table.name, body="\n") * 2)
    assert len(update(page, table.parent / "out")) == 1
    before = page.read_text()
    assert before.count("51.0 (1 seed)") == 2
    for folder in ("nowhere", "out"):
        (table.parent / "out/stand-in/table.json").unlink(missing_ok=True)
        assert update(page, table.parent / folder) == []
        said = f"{folder}/stand-in/table.json is not there; give the `output_dir` of its runs"
        assert said in caplog.text
    assert page.read_text() == before
    page.write_text(MARKS.format(name=table.name, body="old\n"))
    assert update(page, table.parent / "nowhere") == [page]  # which has no numbers to lose
    assert "not yet" in page.read_text()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# A\n<!-- reproduce {0} -->\nmine\n<!-- reproduce {0} -->\n<!-- reproduced -->\n", 2),
        ("<!-- reproduce {0} -->\n<!-- reproduced -->\nmine\n<!-- reproduced -->\n", 4),
        ("<!-- reproduce {0} -->\n<!-- reproduced -->\n\n<!--reproduce {0}-->\n", 4),
    ],
)
def test_marks_that_are_not_in_pairs_are_refused(table, text, line):
    page = table.parent / "page.md"
    page.write_text(text.format(table.name))
    with pytest.raises(UserError, match=rf"page\.md:{line}: expected <!-- reproduce NAME --> and"):
        update(page, table.parent / "out")
    assert page.read_text() == text.format(table.name)


def test_pages_keep_their_ends_of_lines(table):
    page = table.parent / "page.md"
    text = f"# A\n\n{MARKS.format(name=table.name, body='')}mine\n"
    page.write_bytes(text.replace("\n", "\r\n").encode())
    assert update(page, table.parent / "out") == [page]
    raw = page.read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n") > 8
    assert update(page, table.parent / "out") == []


def test_a_table_says_among_which_settings_its_own_were_chosen(table):
    chosen = "Of several settings those whose mean score on dev is best."
    at_dev = "of each run the step that is best on dev, and its number there"
    assert run(table, "--only", "one", "--seeds", 1) == 0
    assert at_dev in page(table)
    assert chosen not in page(table)
    assert run(table, "--only", "one", "--seeds", 1, "--grid") == 0
    assert chosen in page(table)
    listed = "the best on dev of 2 settings (learning_rate 1, 1.5); signature"
    assert listed in page(table)
    filled_page = table.parent / "page_zh.md"
    filled_page.write_text(MARKS.format(name=table.name, body=""))
    assert "多组设置中取开发集平均分最好的一组" in filled(filled_page, table.parent / "out")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--grid", "--", "--learning_rate", 0.5], "--learning_rate: each run has its own"),
        (
            ["--set", "data_dir=x"],
            "--set data_dir: stand-in has no such place; it has ended; flags",
        ),
        (["--dry_run", "--update", "x.md"], "--dry_run: --update writes pages; leave one"),
    ],
)
def test_what_would_be_ignored_is_refused(table, capsys, words, said):
    assert run(table, *words) == 2
    assert said in capsys.readouterr().err
    assert ended(table) == []


def test_dry_run_fills_places(table, capsys):
    assert run(table, "--dry_run", "--only", "one", "--seeds", 1) == 0
    assert f"--ended {table.parent / 'ended.txt'} " in capsys.readouterr().out


def test_what_a_run_lacks_is_told(table, capsys):
    table.write_text(table.read_text().replace('["dev acc"]', '["dev accuracy"]'))
    assert run(table, "--only", "one", "--seeds", 1) == 1
    said = "failed: one learning_rate=1.0 seed 1: it has no dev accuracy, but dev acc, dev f1"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("choice", "ends_with"), [("best", "last"), ("last", "best")])
def test_tests_of_another_model_do_not_count(table, tmp_path, choice, ends_with):
    table.write_text(table.read_text().replace('["dev acc"]', '["test acc"]'))
    one = only_run(table, tmp_path)
    one = replace(one, table=replace(one.table, choice=choice))
    row = {"step": 1, "loss": 1.0, "split": "dev", "metrics": {"acc": 0.5}}
    (one.folder / "history.jsonl").write_text(json.dumps(row) + "\n")
    results = [
        {"signature": f"m|t|{split}|acc", "metrics": {"acc": 0.25}, **more}
        for split, more in (("dev", {"step": 1}), ("test", {}))
    ]
    (one.folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in results))
    for told, counts in ((ends_with, False), (choice, True), (None, True)):
        (one.folder / "record.json").write_text(json.dumps({"ends_with": told}))
        assert (one.measured() is not None) == counts
        if not counts:
            said = f"has tested its {ends_with} model, where the table's 'choice' is {choice}"
            assert said in one.lack()


def test_a_full_disk_is_told_by_a_search(table, capsys, monkeypatch):
    optuna = pytest.importorskip("optuna")
    table.write_text(table.read_text().replace("[grid]", "[search]\nlearning_rate = [1.0]\n[grid]"))

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    words = ["--only", "one", "--seeds", 1, "--search", 1]
    for owner, name in ((optuna, "create_study"), (optuna.Study, "ask"), (optuna.Study, "tell")):
        with monkeypatch.context() as changed:
            changed.setattr(owner, name, full)
            assert run(table, *words) == 2
        assert "search.log: cannot be written: No space left" in capsys.readouterr().err
    assert run(table, *words) == 0


def test_whole_ends_of_a_range_give_whole_numbers(table):
    pytest.importorskip("optuna")
    ranges = "[search]\nlearning_rate = { low = 1, high = 9 }\n"
    table.write_text(table.read_text().replace("[grid]", f"{ranges}\n[grid]"))
    assert run(table, "--only", "one", "--seeds", 1, "--search", 3) == 0
    folders = [path.name for path in (table.parent / "out/stand-in/one").glob("learning_rate=*")]
    assert all(name.removeprefix("learning_rate=").isdecimal() for name in folders)
    assert folders


def test_seeds_that_do_not_deviate_have_no_interval():
    for one in (from_reported([49.367, 49.367], 49.37), from_measured([5.0, 5.0], [4.0, 4.0])):
        assert one.is_chance is None
    assert from_measured([5.0, 5.0], [5.0, 5.0]).is_chance


def test_intervals_are_those_of_scipy():
    ours, others = [51.0, 52.5, 50.2, 53.3], [49.0, 50.5, 48.2]
    welch = stats.ttest_ind(ours, others, equal_var=False).confidence_interval(0.95)
    found = from_measured(ours, others)
    assert found.value - found.half_width == pytest.approx(welch.low)
    assert found.value + found.half_width == pytest.approx(welch.high)
    # A reported number as one run of the same deviation: the pooled test of 4 and 1 runs.
    pooled = stats.ttest_ind(ours, [49.0]).confidence_interval(0.95)
    found = from_reported(ours, 49.0)
    assert found.value - found.half_width == pytest.approx(pooled.low)
    many = from_reported(ours, 49.0, runs=10**9)
    half = stats.t.ppf(0.975, 3) * stdev(ours) / math.sqrt(4)
    assert many.half_width == pytest.approx(half)
    assert from_reported([1.0], 2.0).is_chance is None
    assert from_measured([1.0, 1.0], [1.0, 1.0]).is_chance is True


TABLES = [*known_tables(), *map(str, sorted(ROOT.glob("benchmarks/reproduce/*.toml")))]


@pytest.mark.parametrize("name", TABLES, ids=lambda name: Path(name).stem)
def test_every_command_of_the_tables_parses(name, tmp_path):
    table = read_table(name)
    points = {row.key: grid_of(table) for row in table.rows} if table.grid else {}
    runs = plan(table, table.rows, tmp_path, seeds=1, points=points)
    for run in (run for run in runs if run.side == "paddlenlp_ext"):
        for words in commands(f"{run.shown()} --output_dir out"):
            script, arguments = script_call(words, tmp_path) or (Path(), [])
            assert script_of(script).parse_args(arguments).seed == 1


def test_reported_numbers_are_those_of_the_readmes():
    for name, readme in {
        "bert-glue": "bert",
        "convbert-glue": "convbert",
        "rembert": "rembert",
        "ernie-m-xnli": "ernie_m",
    }.items():
        table = read_table(name)
        folder = console.EXAMPLES / "language_model" / readme
        text = (folder / "README.md").read_text().replace("**", "")
        for row in table.rows:
            numbers = [f"{value:.{table.digits}f}" for value in row.reported]
            parted = " | ".join(numbers) if table.headings else " / ".join(numbers)
            assert f"| {' | '.join([*row.names, parted])} |" in text, row.key


MARKED = [path for path in READMES if "\n<!-- reproduce " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("readme", MARKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_have_what_was_recorded(readme):
    """Nobody has changed by hand what was written from the records of this repository."""
    assert filled(readme, ROOT / "benchmarks/reproduce/results") == readme.read_text("utf-8")


@pytest.mark.parametrize("name", known_tables())
def test_pages_are_filled_in_both_languages(name, tmp_path):
    table = read_table(name)
    runs = plan(table, table.rows[:2], tmp_path / "out", seeds=2)
    found = collect(table, runs)
    for row, sides in found.items():
        count = len(table.numbers_of(next(one for one in table.rows if one.key == row)))
        values = {"1": [71.234] * count, "2": [71.8] * count}
        found[row]["paddlenlp_ext"] = replace(sides["paddlenlp_ext"], values=values)
    keep(found, made(tmp_path / "out" / name))
    pages = [tmp_path / "README.md", tmp_path / "README_zh.md"]
    for path in pages:
        path.write_text(f"# A\n\n<!-- reproduce {name} -->\n<!-- reproduced -->\n\nB\n")
    assert update(pages[0], tmp_path / "out") == pages
    english, chinese = (path.read_text() for path in pages)
    assert table_rows(english) == table_rows(chinese)
    assert "more than chance" in english
    assert "偶然" in chinese
    assert english.startswith("# A\n\n<!--")
    assert english.endswith("-->\n\nB\n")
    assert f"{71.517:.{table.digits}f} ± {0.40022:.{table.digits}f}" in english
    assert update(pages[0], tmp_path / "out") == []


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_a_script_that_was_killed_goes_on(tmp_path: Path) -> None:
    """The real script ends with its harness, saves, and continues; its own files are read."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        'title = "tiny"\nsource = "none"\ncolumns = ["Task"]\nseeds = 1\n'
        'command = "paddlenlp-ext train glue"\n'
        f'[arguments]\nmodel_type = "bert"\nmodel_name_or_path = "{tiny_bert(tmp_path)}"\n'
        f'data_dir = "{console.EXAMPLES.parent / "data/glue"}"\nmax_seq_length = 16\n'
        'num_train_epochs = 16\nsave_steps = 20\nn_gpu = 0\nresume_from_checkpoint = "latest"\n'
        '[[rows]]\nnames = ["RTE"]\nnumbers = ["dev acc"]\narguments = { task_name = "RTE" }\n'
    )
    command = [sys.executable, "-m", "paddlenlp_ext", "reproduce", path, "--output_dir"]
    history = tmp_path / "killed/tiny/rte/page/seed-1/history.jsonl"
    with subprocess.Popen([*command, tmp_path / "killed"]) as killed:
        while not history.exists() or len(history.read_bytes().splitlines()) < 8:
            time.sleep(0.02)
        killed.kill()
    for folder in ("killed", "alone"):
        subprocess.run([*command, tmp_path / folder], check=True)
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    steps = [row["step"] for row in rows if "split" not in row]
    assert steps == [*range(1, steps[-1] + 1)], "each step once"
    assert "from step" in history.with_name("log.txt").read_text(), "it was continued"
    best = max(row["metrics"]["acc"] for row in rows if "split" in row)
    result = json.loads(history.with_name("results.jsonl").read_text().splitlines()[0])
    text = (tmp_path / "killed/tiny/table.md").read_text()
    assert f"| RTE | {100 * best:.2f} (1 seed) |" in text
    assert f"`{result['signature']}`" in text
    assert text == (tmp_path / "alone/tiny/table.md").read_text()


@pytest.mark.parity
@pytest.mark.parametrize(("name", "place"), [("e5-xnli", "xnli"), ("e5-pawsx", "pawsx")])
def test_both_sides_of_a_table(name, place, tmp_path):
    pytest.importorskip("transformers")
    source = multilingual.xlm_r(made(tmp_path / "source"))
    AutoModel.from_pretrained(source).save_pretrained(tmp_path / "xlm_r", format="huggingface")
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "xlm_r")
    data = {"xnli": ROOT / "data/xnli", "pawsx": ROOT / "data/pawsx"}
    words = [ROOT / f"benchmarks/reproduce/{name}.toml", "--only", "XLM-R", "--seeds", 1]
    words += ["--set", f"encoder={tmp_path}", "--set", f"{place}={data[place]}", "--jobs", 2]
    words += ["--output_dir", tmp_path / "out"]
    if name == "e5-pawsx":
        pawsx_lines.write(data[place], tmp_path / "lines")
        words += ["--set", f"lines={tmp_path / 'lines'}"]
    command = [sys.executable, "-m", "paddlenlp_ext", "reproduce", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / name / "table.json").read_text())["xlm-r"]
    assert {side: [*one["values"]] for side, one in record.items()} == {
        "paddlenlp_ext": ["1"],
        "transformers": ["1"],
    }
    assert "one seed: no interval" in done.stdout or name == "e5-xnli"

"""Argument types, the engine's flags, and how a run ends."""

from __future__ import annotations

import argparse
import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paddlenlp_ext.cli.flags import add_engine_arguments
from paddlenlp_ext.cli.parsing import (
    boolean,
    device,
    integer,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    probability,
)
from paddlenlp_ext.cli.program import SETTING, run
from paddlenlp_ext.errors import DataError
from paddlenlp_ext.process.signals import raise_pending


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1e5", 100_000), ("-1", -1), ("2.0", 2), (" 7 ", 7), ("2147483647", 2**31 - 1)],
)
def test_whole_numbers(text, value):
    assert integer(text) == value


@pytest.mark.parametrize("text", ["1.5", "x", "", "inf", "nan", "1e-3", "1e400"])
def test_what_is_no_whole_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number"):
        integer(text)


@pytest.mark.parametrize("text", ["2147483648", "-1e20", "9" * 300])
def test_numbers_that_nothing_can_count_to(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected at most 2,147,483,647, got"):
        integer(text)


@pytest.mark.parametrize(
    ("parse", "good", "bad"),
    [
        (non_negative_int, {"0": 0, "1e3": 1000}, ["-1", "x", "0.5"]),
        (
            non_negative_float,
            {"0": 0.0, "1e-5": 1e-5},
            ["-1", "nan", "inf", "-inf", "1e400", "", "1,5"],
        ),
        (positive_float, {"1e-8": 1e-8, "32768": 32768.0}, ["0", "-0.0", "nan", "inf", "1e-400"]),
        (probability, {"0": 0.0, "1": 1.0, ".1": 0.1}, ["-0.1", "1.1", "nan", "inf", "15"]),
    ],
)
def test_bounds_of_numbers(parse, good, bad):
    assert {text: parse(text) for text in good} == good
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f"got '{text}'"):
            parse(text)


def test_positive_numbers():
    assert positive_int("1") == 1
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1, got '0'"):
        positive_int("0")


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("off", False), ("1", True), ("N", False)]
)
def test_booleans(text, value):
    assert boolean(text) is value


@pytest.mark.parametrize("text", ["", "2", "maybe"])
def test_what_is_no_boolean(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected True or False"):
        boolean(text)


def test_devices():
    assert [device(text) for text in ("cpu", "GPU", "gpu:1", "xpu")] == [
        "cpu",
        "gpu",
        "gpu:1",
        "xpu",
    ]
    for text in ("cuda", "gpu:", "gpu:a", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="expected one of cpu, gpu, xpu, npu"):
            device(text)


def parser(**options: object) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--scale_loss", type=float, default=1.0)
    add_engine_arguments(made, omit=("scale_loss",))
    return made


def test_engine_flags_have_their_own_group_and_leave_the_script_its_own():
    defaults = vars(parser().parse_args([]))
    assert defaults["scale_loss"] == 1.0
    assert defaults["seed"] == 42
    assert defaults["gradient_accumulation_steps"] == 1
    assert defaults["use_amp"] is False
    assert defaults["resume_from_checkpoint"] is None
    _, _, group = parser().format_help().partition("engine:")
    assert "--amp_level" in group
    assert "--scale_loss" not in group


def test_switches_take_a_value_or_none():
    for given, value in ((["--use_amp"], True), (["--use_amp", "False"], False), ([], False)):
        assert parser().parse_args(given).use_amp is value


def outcome(action, capsys) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        run(action)
    return ended.value.code, capsys.readouterr().err


def raising(error: BaseException):
    def action() -> None:
        raise error

    return action


def test_a_users_mistake_is_one_line_and_exit_code_two(capsys):
    code, text = outcome(raising(DataError("train.tsv:7: 3 columns")), capsys)
    assert (code, text) == (2, "error: train.tsv:7: 3 columns\n")


def test_settings_that_a_message_names_become_flags(capsys):
    row = 'the `seed` isn\'t "`here`"'
    message = f"x.tsv:7: got {row!r}, not the column's number; lower `batch_size`, `Model` or `a b`"
    code, text = outcome(raising(DataError(message)), capsys)
    expected = message.replace("`batch_size`", "--batch_size")
    assert (code, text) == (2, f"error: {expected}\n")


def test_too_little_memory_says_what_to_lower(capsys):
    code, text = outcome(raising(MemoryError("\n\nCannot allocate 3.0GB\n")), capsys)
    assert code == 2
    assert text.startswith("error: out of memory (Cannot allocate 3.0GB); lower the batch size")
    assert text.count("\n") == 1


def test_a_path_that_cannot_be_used_is_named(capsys, tmp_path):
    code, text = outcome(lambda: (tmp_path / ("x" * 300)).stat(), capsys)
    assert code == 2
    assert text.startswith(f"error: {tmp_path}/xxx")
    assert text.endswith("x: File name too long; give another path\n")
    with pytest.raises(FileNotFoundError):  # a matter for programmers: who gave it, and for what?
        run(lambda: (tmp_path / "x").stat())


def test_other_ends(capsys):
    assert outcome(lambda: {"acc": 1.0}, capsys) == (0, "")
    assert outcome(raising(KeyboardInterrupt()), capsys) == (130, "")
    assert outcome(raising(SystemExit(143)), capsys) == (143, "")
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)


def test_sigterm_ends_as_an_exception_does(capsys):
    closed = []

    def terminated() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            closed.append(True)

    try:
        assert outcome(terminated, capsys) == (143, "")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_python_drops_ends_the_run_at_the_next_question(number, code, capsys):
    class Closing:
        def __del__(self) -> None:  # what is raised here goes no further
            os.kill(os.getpid(), number)

    reached = []

    def interrupted() -> None:
        raise_pending()
        Closing()
        reached.append(True)
        raise_pending()
        reached.append(False)

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert outcome(interrupted, capsys)[0] == code
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert reached == [True]


def test_help_does_not_wait_for_paddle():
    program = (
        "import argparse, sys\n"
        "from paddlenlp_ext import metrics\n"
        "from paddlenlp_ext.cli import flags, program\n"
        "from paddlenlp_ext.process import runtime\n"
        "from paddlenlp_ext.training import results\n"
        "flags.add_engine_arguments(argparse.ArgumentParser())\n"
        "heavy = {'paddle', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_of_a_glue_script_does_not_wait_for_numpy():
    script = Path(__file__).parents[1] / "examples/language_model/bert/run_glue.py"
    command = [sys.executable, "-X", "importtime", str(script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "paddlenlp_ext.tasks.task" in loaded
    assert "numpy" not in loaded


ROOT = Path(__file__).parents[1]
# Arguments of Python's, which no script comes to.
OF_PYTHON = {"mask_token", "pad_token", "schema"}


@pytest.mark.parametrize("room", ["files", "pretraining", "tasks", "tokenizers", "weights"])
def test_what_messages_name_as_a_setting_is_a_flag(room):
    pages = [ROOT / "paddlenlp_ext/__main__.py", *ROOT.glob("docs/*.md")]
    pages += [one for one in ROOT.glob("examples/**/*") if one.suffix in (".md", ".py")]
    flags = {name for page in pages for name in re.findall(r"--(\w+)", page.read_text("utf-8"))}
    named = set()
    for path in (ROOT / "paddlenlp_ext" / room).rglob("*.py"):
        parts = [*ast.walk(ast.parse(path.read_text("utf-8")))]
        docstrings = {one.value for one in parts if isinstance(one, ast.Expr)}
        for one in {*parts} - docstrings:
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                named |= {*SETTING.findall(one.value)} - {""}
    assert named - flags <= OF_PYTHON

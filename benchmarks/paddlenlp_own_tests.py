"""Run PaddleNLP's own tests of our families against `paddlenlp_ext.paddlenlp`.

    pip install parameterized
    python -m benchmarks.paddlenlp_own_tests PADDLENLP --output outputs/paddlenlp_own_tests.md

PADDLENLP is a folder with PaddleNLP's sources (its `tests`, of 2.6 to 2.8; nothing else of it is
read): tests of models and tokenizers of each family run as they are, in a process in which the name
`paddlenlp`, and those of its modules, lead to `paddlenlp_ext.paddlenlp`. Nothing is downloaded; in
place of the hub's models there are new ones, where transformers is installed.

Prints and writes a table by family, and each test that does not pass. What is rightly left out is
told in `LEFT_OUT`, with its reason: the share is of the other tests that were not skipped.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from xml.etree import ElementTree

from benchmarks.hub_stand_ins import keep_models, keep_tokenizers
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.paddlenlp.stand_in import HOME, Names

FAMILIES = ("bert", "rembert", "convbert", "ernie_m", "electra", "ernie")
SUBJECTS = ("modeling", "tokenizer")
# What their files import at the top, and no test of these families calls.
UNUSED = {
    "utils": ("install_package", "uninstall_package"),
    "utils.env": ("MODEL_HOME",),
    "transformers.tokenizer_utils": ("Trie",),
}
ROOT = Path(__file__).absolute().parents[1]
HOMES = ("HF_HOME", "PADDLENLP_EXT_HOME")
THEIRS, INTERNAL = "(c) theirs is wrong", "(d) internals, network"


class LeftOut(NamedTuple):
    """Tests that rightly do not pass.

    Attributes:
        tests: Pattern of `family/subject/Class::test`, as in a shell.
        group: `THEIRS` or `INTERNAL`.
        reason: Why.
    """

    tests: str
    group: str
    reason: str


NO_HUB = "asks a hub for a model"
LEFT_OUT = (
    LeftOut("*/modeling/*::test_model_from_pretrained_paddle_hub", INTERNAL, NO_HUB),
    LeftOut("*/modeling/*CompatibilityTest::test_*_converter", INTERNAL, NO_HUB),
    LeftOut(
        "bert/modeling/*::test_bert_converter_from_local_dir_with_enable_torch",
        INTERNAL,
        "sets a variable of a module that forbids to read weights of PyTorch",
    ),
    LeftOut(
        "rembert/modeling/*::test_masked_lm_model",
        THEIRS,
        "wants scores [B, L, hidden size]; they are for the words of the vocabulary",
    ),
    LeftOut(
        "rembert/modeling/*::test_question_answering_model",
        THEIRS,
        "wants [B, L, 1]; all other families have [B, L]",
    ),
    LeftOut(
        "rembert/modeling/*::test_multiple_choice_model",
        THEIRS,
        "gives rows [B, L] without their choices, [B, C, L]",
    ),
    *(
        LeftOut(
            f"electra/modeling/*::{name}",
            THEIRS,
            "gives its mask as `inputs_embeds`, beside `input_ids`; both at once are an error",
        )
        for name in (
            "test_attention_outputs",
            "test_determinism",
            "test_hidden_states_output",
            "test_save_load",
        )
    ),
    LeftOut(
        "*/tokenizer/*::test_add_tokens",
        THEIRS,
        "wants an AssertionError of one token where a list belongs; ours is a ValueError",
    ),
    LeftOut(
        "ernie_m/tokenizer/*::test_convert_token_and_id",
        INTERNAL,
        "calls methods whose names begin with an underscore",
    ),
    LeftOut(
        "rembert/tokenizer/*::test_consecutive_unk_string",
        THEIRS,
        "wants offsets of all tokens but the special ones; all other families have those",
    ),
)


class Outcome(NamedTuple):
    """What became of a test.

    Attributes:
        name: `family/subject/Class::test`.
        outcome: passed, failed or skipped.
        message: The first line of the failure.
    """

    name: str
    outcome: str
    message: str = ""

    @property
    def left_out(self) -> LeftOut | None:
        """Why it need not pass, if it does not."""
        if self.outcome != "failed":
            return None
        return next((row for row in LEFT_OUT if fnmatchcase(self.name, row.tests)), None)


class NamesOfTests(Names):
    """Leads to modules of ours, with what PaddleNLP's tests only import."""

    def exec_module(self, module: ModuleType) -> None:
        """Add that."""
        super().exec_module(module)
        for name in UNUSED.get(module.__name__.removeprefix(f"{HOME}paddlenlp."), ()):
            vars(module).setdefault(name, None)


def pytest_configure() -> None:
    """Begin to answer for `paddlenlp` (called by pytest in the process of the tests)."""
    sys.meta_path.insert(0, NamesOfTests())


def files_of_tests(checkout: Path, names: Iterable[str]) -> dict[str, Path]:
    """Find PaddleNLP's files of tests, by `family/subject`.

    Raises:
        UserError: One is not there, or what all need.
    """
    files = {
        name: checkout / f"tests/transformers/{name.replace('/', '/test_')}.py" for name in names
    }
    for file in files.values():
        if not file.is_file():
            raise UserError(f"{file}: no such file; expected a folder with PaddleNLP's `tests`")
    if find_spec("parameterized") is None:
        raise UserError("PaddleNLP's tests need the package parameterized; install it with pip")
    return files


def run(checkout: Path, file: Path, name: str, home: Path | None = None) -> list[Outcome]:
    """Run one file of tests in a process of its own.

    Args:
        checkout: PaddleNLP's sources.
        file: Of them.
        name: `family/subject`.
        home: Where models from a hub are looked for, as `keep_models` and `keep_tokenizers` know.

    Raises:
        UserError: pytest could not run it.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-p", __spec__.name if __spec__ else __name__, "-p", "no:cacheprovider"]
        options += ["--rootdir", os.fspath(checkout), "-c", os.devnull, f"--junitxml={report}"]
        paths = [os.fspath(ROOT), os.fspath(checkout)]
        paths += filter(None, [os.environ.get("PYTHONPATH")])
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, os.fspath(file)],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1", "HOME": folder}
            | ({name: os.fspath(home) for name in HOMES} if home else {}),
            capture_output=True,
            text=True,
            check=False,
        )
        if not report.is_file():
            raise UserError(f"{file}: pytest ended with {done.returncode}: {done.stdout[-2000:]}")
        return list(read(report, name))


def read(report: Path, file: str) -> Iterable[Outcome]:
    """Read pytest's report.

    Args:
        report: JUnit's XML.
        file: family/subject, in front of the names.
    """
    for case in ElementTree.parse(report).iter("testcase"):
        owner = case.get("classname", "").rpartition(".")[2]
        name = f"{file}/{owner}::{case.get('name')}"
        bad = next((part for part in case if part.tag in {"failure", "error"}), None)
        if bad is not None:
            said = [line[2:].strip() for line in (bad.text or "").splitlines() if line[:2] == "E "]
            message = [
                line for line in said if re.match(r"[\w.]+(Error|Exception)\b", line)
            ] or said
            yield Outcome(name, "failed", (message or [bad.get("message", "")])[-1])
        elif case.find("skipped") is not None:
            yield Outcome(name, "skipped")
        else:
            yield Outcome(name, "passed")


def table(tests: Sequence[Outcome]) -> list[str]:
    """Count tests by family and subject, as lines of Markdown."""
    files = list(dict.fromkeys(test.name.rpartition("/")[0] for test in tests))
    lines = [
        f"| Tests | Collected | Passed | Failed | {THEIRS} | {INTERNAL} | Skipped | Share |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        _row(file, [test for test in tests if test.name.startswith(f"{file}/")]) for file in files
    ]
    return [*lines, _row("all", tests)]


def rest(tests: Iterable[Outcome]) -> list[str]:
    """List what does not pass: first what should, then what is left out, by reason."""
    failed = [test for test in tests if test.outcome == "failed"]
    wrong = Counter(
        (test.name.rpartition("/")[0], test.name.rpartition("::")[2], test.message)
        for test in failed
        if test.left_out is None
    )
    left_out = Counter(row for test in failed if (row := test.left_out))
    return [
        *(
            f"- {file}, `{name}`, {count} times: {message}"
            for (file, name, message), count in wrong.items()
        ),
        *(
            f"- {row.group}, {count} tests, `{row.tests}`: {row.reason}"
            for row, count in left_out.items()
        ),
    ]


def _row(name: str, tests: Sequence[Outcome]) -> str:
    outcomes = Counter(test.outcome for test in tests)
    groups = Counter(test.left_out.group for test in tests if test.left_out)
    failed = outcomes["failed"] - groups.total()
    counted = outcomes["passed"] + failed
    share = f"{outcomes['passed'] / counted:.1%}" if counted else "-"
    cells = [len(tests), outcomes["passed"], failed, groups[THEIRS], groups[INTERNAL]]
    return " | ".join([f"| {name}", *map(str, cells), str(outcomes["skipped"]), f"{share} |"])


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("checkout", type=Path, help="folder with PaddleNLP's sources")
    add("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    add("--subjects", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    add("--output", type=Path, help="Markdown file for what is printed")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse_args(argv)
    checkout: Path = args.checkout.resolve()
    names = [f"{family}/{subject}" for family, subject in product(args.families, args.subjects)]
    tests: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            files = files_of_tests(checkout, names)
            if find_spec("transformers") and find_spec("torch"):
                keep_models(Path(folder))
            keep_tokenizers(Path(folder))
            for name, file in files.items():
                tests += run(checkout, file, name, Path(folder))
                print(table(tests)[-2], flush=True)
        except UserError as error:
            sys.exit(f"error: {error}")
    lines = [*table(tests), "", *rest(tests)]
    print("\n".join(lines))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

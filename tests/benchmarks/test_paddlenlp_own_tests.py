"""PaddleNLP's own tests through our package: how they are run, counted and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import paddlenlp_own_tests as program
from benchmarks.paddlenlp_own_tests import INTERNAL, THEIRS, LeftOut, Outcome

THEIR_TESTS = """
import unittest
import paddlenlp
import paddlenlp.utils.env as theirs
from paddlenlp.utils import install_package
from paddlenlp.utils.env import LEGACY_CONFIG_NAME
from ..common import SIZE

class BertModelTest(unittest.TestCase):
    def test_names(self):
        import paddlenlp_ext.paddlenlp.utils.env as ours
        self.assertIs(theirs, ours)
        self.assertIs(paddlenlp.utils.env, ours)
        self.assertEqual(ours.__spec__.name, "paddlenlp_ext.paddlenlp.utils.env")
        self.assertEqual(LEGACY_CONFIG_NAME, "model_config.json")

    def test_what_no_test_calls(self):
        self.assertIsNone(install_package)

    def test_absent(self):
        with self.assertRaisesRegex(ModuleNotFoundError, "'paddlenlp.no_such_module'"):
            import paddlenlp.no_such_module

    def test_wrong(self):
        self.assertEqual(SIZE, 25)

    @unittest.skip("slow")
    def test_slow(self):
        pass
"""


@pytest.fixture
def results() -> list[Outcome]:
    return [
        Outcome("bert/modeling/A::test_1", "passed"),
        Outcome("bert/modeling/A::test_2", "failed", "TypeError"),
        Outcome("bert/modeling/A::test_3", "failed", "no network"),
        Outcome("bert/modeling/A::test_4", "skipped"),
        Outcome("ernie/tokenizer/B::test_3", "failed", "shape"),
    ]


def test_a_file_of_theirs_runs_with_our_package_in_place_of_theirs(tmp_path: Path) -> None:
    folder = tmp_path / "tests/transformers/bert"
    folder.mkdir(parents=True)
    for parent in (tmp_path / "tests", tmp_path / "tests/transformers", folder):
        (parent / "__init__.py").touch()
    (tmp_path / "tests/transformers/common.py").write_text("SIZE = 24\n")
    file = folder / "test_modeling.py"
    file.write_text(THEIR_TESTS)

    tests = {test.name: test for test in program.run(tmp_path, file, "bert/modeling")}

    outcomes = {name.rpartition("::")[2]: test.outcome for name, test in tests.items()}
    assert outcomes == {
        "test_names": "passed",
        "test_what_no_test_calls": "passed",
        "test_absent": "passed",
        "test_wrong": "failed",
        "test_slow": "skipped",
    }
    assert "24 != 25" in tests["bert/modeling/BertModelTest::test_wrong"].message


def test_a_folder_without_tests_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*test_modeling\.py: no such file"):
        program.main([str(tmp_path), "--families", "bert"])


def test_what_is_left_out_is_not_in_the_share(
    results: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = (
        LeftOut("bert/*::test_3", INTERNAL, "a hub"),
        LeftOut("ernie/*::test_3", THEIRS, "[B, L, 1]"),
    )
    monkeypatch.setattr(program, "LEFT_OUT", left)

    assert program.table(results)[2:] == [
        "| bert/modeling | 4 | 1 | 1 | 0 | 1 | 1 | 50.0% |",
        "| ernie/tokenizer | 1 | 0 | 0 | 1 | 0 | 0 | - |",
        "| all | 5 | 1 | 1 | 1 | 1 | 1 | 50.0% |",
    ]
    assert program.rest(results) == [
        "- bert/modeling, `test_2`, 1 times: TypeError",
        f"- {INTERNAL}, 1 tests, `bert/*::test_3`: a hub",
        f"- {THEIRS}, 1 tests, `ernie/*::test_3`: [B, L, 1]",
    ]


def test_every_reason_names_a_group() -> None:
    for row in program.LEFT_OUT:
        assert row.group in {THEIRS, INTERNAL}
        assert row.tests.count("/") == 2, "family/subject/Class::test"
        assert row.reason

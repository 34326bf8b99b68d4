"""READMEs are executable: every command parses, every link leads somewhere, translations agree."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from paddlenlp_ext.__main__ import EXAMPLES, SCRIPTS
from paddlenlp_ext.training import loggers

ROOT = Path(__file__).parents[2]
READMES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("examples/**/*.md"),
        *ROOT.glob("data/*.md"),
    ]
)
TRANSLATED = [path for path in READMES if path.with_name(f"{path.stem}_zh.md").exists()]
RECIPES = sorted(ROOT.glob("examples/**/recipes/*.sh"))
BLOCK = re.compile(r"```(?:shell|bash)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)")
LAUNCHER = ("-m", "paddle.distributed.launch")


def script_of(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(shell: str) -> Iterator[list[str]]:
    """The words of each command of a shell text, with the variables that it exports put in."""
    variables: dict[str, str] = {}

    def put_in(line: str) -> str:
        return re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], found[0]), line)

    for line in shell.replace("\\\n", " ").splitlines():
        words = shlex.split(put_in(line), comments=True)
        if words[:1] == ["export"]:
            variables |= dict(word.split("=", 1) for word in words[1:])
        elif words:
            yield words


def script_call(words: list[str], folder: Path) -> tuple[Path, list[str]] | None:
    """The script that a command runs, and its arguments; none if it runs none of ours."""
    if words[:2] == ["paddlenlp-ext", "train"]:
        return EXAMPLES / SCRIPTS[words[2]][0], words[3:]
    for at, word in enumerate(words):
        if word.endswith(".py"):
            path = next((p for p in (ROOT / word, folder / word) if p.exists()), None)
            assert path is not None, f"{word} does not exist"
            return path, words[at + 1 :]
    return None


def readme_calls() -> list[tuple[str, Path, list[str]]]:
    calls = []
    for readme in READMES:
        for block in BLOCK.findall(readme.read_text(encoding="utf-8")):
            for words in commands(block):
                name = f"{readme.relative_to(ROOT)}: {' '.join(words)[:60]}"
                call = script_call(words, readme.parent)
                calls += [(name, *call)] if call else []
    return calls


CALLS = readme_calls()


@pytest.mark.parametrize(("script", "arguments"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_readme_command_parses(
    script: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: True)  # whatever is installed
    if ROOT / "examples" in script.parents:  # benchmarks may need the references to be imported
        module = script_of(script)
        if hasattr(module, "parse_args"):
            module.parse_args(arguments)


def test_there_are_commands() -> None:
    assert CALLS


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_recipe_parses_and_can_be_overridden(recipe: Path) -> None:
    text = recipe.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n#")
    assert "set -euo pipefail" in text
    assert os.access(recipe, os.X_OK)
    for words in commands(text.replace('"$(dirname "$0")/../', f'"{recipe.parents[1]}/')):
        if words[0] == "set":
            continue
        call = script_call(words, recipe.parent)
        assert call is not None
        assert words[-1] == "$@"
        args = script_of(call[0]).parse_args([*call[1][:-1], "--max_steps", "7"])
        assert args.max_steps == 7


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(readme: Path) -> None:
    for target in LINK.findall(readme.read_text(encoding="utf-8")):
        assert (readme.parent / target).exists(), target


NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")
CODE_SPAN = re.compile(r"`[^`]+`")


def table_rows(page: str) -> list[tuple[int, list[str], list[str]]]:
    """What the rows of tables have in every language: number of cells, numbers, code."""
    return [
        (line.count("|"), NUMBER.findall(line), CODE_SPAN.findall(line))
        for line in page.splitlines()
        if line.startswith("|")
    ]


@pytest.mark.parametrize("readme", TRANSLATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_translation_has_the_same_commands_and_tables(readme: Path) -> None:
    english = readme.read_text(encoding="utf-8")
    chinese = readme.with_name(f"{readme.stem}_zh.md").read_text(encoding="utf-8")
    code = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
    assert code.findall(chinese) == code.findall(english)
    assert table_rows(chinese) == table_rows(english)

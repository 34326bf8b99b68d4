"""What pages say of the code is so: the names in the reading order, the table of models."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import paddlenlp_ext.transformers
from paddlenlp_ext.presets.families import FAMILIES
from tests.docs.test_readmes import READMES

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "examples/language_model"
PAGES = [page for page in READMES if page.name != "CHANGELOG.md"]
CODE = re.compile(r"`([^`\n]+)`")
# Classes behind the columns of the README's first table.
HEADS = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForMaskedLM",
    "ForCausalLM",
    "ForNextSentencePrediction",
    "ForPreTraining",
)
EXTRACTORS = {"Ernie": "UIE", "ErnieM": "UIEM"}


def defined(path: Path) -> set[str]:
    """Names of all classes, functions and variables of a file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_reading_order_names_what_there_is() -> None:
    """A name in backticks is defined in one of the files that its item names."""
    page = (ROOT / "docs/reading-order.md").read_text("utf-8").partition("```")[0]
    items = re.split(r"\n(?=\d\. |- |\n)", page)
    compared = 0
    for item in items:
        words = CODE.findall(item)
        files = [ROOT / word for word in words if word.endswith(".py")]
        assert all(file.is_file() for file in files), files
        names = {name for file in files for name in defined(file)}
        for word in words:
            if word.isidentifier():
                assert word in names, f"{word}: in none of {[file.name for file in files]}"
                compared += 1
    assert compared > 4


def test_reading_order_draws_files_that_there_are() -> None:
    drawing = (ROOT / "docs/reading-order.md").read_text("utf-8").split("```")[1]
    for path in re.findall(r"\b((?:tasks|training)/\w+)", drawing):
        assert (ROOT / f"paddlenlp_ext/{path}.py").is_file(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_pages_name_are_there(page: Path) -> None:
    """From the root, the package, a folder of scripts or the page's own."""
    places = [ROOT, ROOT / "paddlenlp_ext", SCRIPTS, *SCRIPTS.iterdir(), page.parent]
    for word in CODE.findall(page.read_text("utf-8")):
        if re.fullmatch(r"[\w/.-]+\.py|(?:paddlenlp_ext|tests|docs|benchmarks)/[\w/.-]+", word):
            assert any((place / word).exists() for place in places), word


@pytest.mark.parametrize("page", ["README.md", "README_zh.md"])
def test_table_of_models_is_what_there_is(page: str) -> None:
    """A row is named after its family; ticks are the public names."""
    prefixes = {row.prefix.lower(): row.prefix for row in FAMILIES.values()}
    found = {}
    for line in (ROOT / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(HEADS) + 3 and (name := re.match(r"\[([\w-]+)\]", cells[0])):
            prefix = prefixes[name[1].replace("-", "").lower()]
            found[prefix] = ["✓" in cell for cell in cells[1:-1]]
    public = paddlenlp_ext.transformers.__all__
    expected = {
        prefix: [*(prefix + head in public for head in HEADS), EXTRACTORS.get(prefix) in public]
        for prefix in prefixes.values()
    }
    assert found == expected

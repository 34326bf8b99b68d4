"""ConvBERT's compare.py and convert.py against transformers itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.docs.test_readmes import script_of
from tests.parity.reference import randomize
from tests.tiny import FAMILY_SIZES, SIZES

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

FOLDER = Path(__file__).parents[2] / "examples/language_model/convbert"
DIFFERENCE = r"tensor\((?:\d\.\d{4}e-\d\d|0\.)\)"
# Three lines as on the page, then where the weights come from.
LINES = re.compile(
    r"huggingface (\S+) vs paddle (\S+)\n"
    rf"mean difference: {DIFFERENCE}\nmax difference: {DIFFERENCE}\n"
    r"\(([^)]+)\)\n"
)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "it", "is", "a", "nice", "day", "today", "!"]
TYPES = ("bert", "convbert", "electra", "ernie")


def reference(family: str, folder: Path) -> Path:
    sizes = SIZES | FAMILY_SIZES[family]
    config = transformers.AutoConfig.for_model(family, **sizes)
    randomize(transformers.AutoModel.from_config(config)).save_pretrained(folder)
    if family in TYPES:
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _gradients_again() -> object:
    yield
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("family", FAMILY_SIZES)
def test_folders_of_every_family(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = reference(family, tmp_path / family)
    largest = script_of(FOLDER / "compare.py").main(["--model", str(folder)])
    assert 0 < largest[str(folder)] < 2e-5
    found = LINES.search(capsys.readouterr().out)
    assert found is not None
    assert found.groups() == (str(folder), str(folder), "the folder's or repository's weights")


def test_published_sizes_with_random_weights(capsys: pytest.CaptureFixture) -> None:
    """Without a network, as here, the page's first model is made at random."""
    largest = script_of(FOLDER / "compare.py").main(["--model", "convbert-small"])
    assert 0 < largest["convbert-small"] < 1e-5
    output = capsys.readouterr().out
    found = LINES.fullmatch(output)
    assert found is not None, output
    assert found.groups()[:2] == ("YituTech/conv-bert-small", "convbert-small")
    assert found[3].startswith("random weights of the published sizes")


def test_paddle_s_folder_is_converted_for_transformers(tmp_path: Path) -> None:
    folder = reference("convbert", tmp_path / "theirs")
    convert = script_of(FOLDER / "convert.py").main
    convert(["--input_dir", str(folder), "--output_dir", str(tmp_path / "ours")])
    compare = script_of(FOLDER / "compare.py").main
    assert 0 < compare(["--model", str(tmp_path / "ours")])[str(tmp_path / "ours")] < 2e-6


def test_too_large_a_difference_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = reference("convbert", tmp_path)
    module = script_of(FOLDER / "compare.py")
    run = module.run_ours
    module.run_ours = lambda *args: run(*args) + np.float32(3e-5)
    with pytest.raises(SystemExit) as ended:
        module.main(["--model", str(folder)])
    assert ended.value.code == 1
    assert f"the difference exceeds 2e-05: {folder}" in capsys.readouterr().out
    module.run_ours = lambda *args: run(*args) * np.float32("nan")
    with pytest.raises(SystemExit):
        module.main(["--model", str(folder)])


def test_the_page_s_convert_command(tmp_path: Path) -> None:
    """pytorch_model.bin to model_state.pdparams, which computes what transformers does."""
    folder = reference("convbert", tmp_path / "conv-bert-base")
    model = transformers.AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    paths = [folder / "pytorch_model.bin", tmp_path / "convbert-base/model_state.pdparams"]
    written = script_of(FOLDER / "convert.py").main(
        ["--pytorch_checkpoint_path", str(paths[0]), "--paddle_dump_path", str(paths[1])]
    )
    assert written == paths[1]
    largest = script_of(FOLDER / "compare.py").main(["--model", str(written.parent)])
    assert 0 < largest[str(written.parent)] < 2e-6


def test_missing_references_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')")
    done = subprocess.run(
        [sys.executable, FOLDER / "compare.py"], capture_output=True, text=True, check=False,
        timeout=120, env={"PYTHONPATH": f"{tmp_path}:{FOLDER.parents[2]}"},
    )  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(r"error: compare.py needs PyTorch and transformers .*\n", done.stderr)

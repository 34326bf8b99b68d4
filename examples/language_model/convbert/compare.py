"""Compare this project's models with those of transformers, on the same weights and tokens.

    python examples/language_model/convbert/compare.py
    python examples/language_model/convbert/compare.py --model bert electra ./my-model

Published weights are taken where they can be had, else random ones of the published sizes; a line
says which. PyTorch and transformers 4.57 are needed. Ends with 1 if a difference exceeds 2e-5.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paddlenlp_ext.cli import parsing, program
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import resolve
from paddlenlp_ext.presets.families import find_preset
from paddlenlp_ext.process import runtime
from paddlenlp_ext.weights import files, folders

if TYPE_CHECKING:
    from paddlenlp_ext.models.config import ModelConfig

CONVBERT = ("convbert-small", "convbert-medium-small", "convbert-base")
# What `--model FAMILY` compares.
PRESETS = {
    "convbert": CONVBERT,
    "bert": ("bert-base-uncased",),
    "rembert": ("rembert",),
    "ernie_m": ("ernie-m-base",),
    "electra": ("electra-small", "electra-base"),
    "ernie": ("ernie-2.0-base-en",),
}
SENTENCE = "it is a nice day today!"
TOKENS = 32  # of random ids, where there is no vocabulary
RANDOM = (
    "random weights of the published sizes and random tokens, since the published weights could "
    "not be had; --model FOLDER takes what is at hand"
)
TOLERANCE = 2e-5
Arrays = dict[str, Any]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = parsing.Parser(description="Compare models with those of transformers.")
    what = f"presets, folders with a model of either library, or families: {', '.join(PRESETS)}"
    parser.add_argument("--model", nargs="+", default=["convbert"], help=what)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Print the differences; return the largest of each model.

    Raises:
        SystemExit: With 1: one of them exceeds the tolerance.
    """
    args = parse_args(argv)
    runtime.tune()
    runtime.import_paddle()
    require_references()
    largest = {}
    for model in args.model:
        for name in (model,) if Path(model).is_dir() else PRESETS.get(model, (model,)):
            largest[name] = compare(name)
    if too_large := [name for name, value in largest.items() if not value <= TOLERANCE]:
        print(f"the difference exceeds {TOLERANCE}: {', '.join(too_large)}")
        raise SystemExit(1)
    return largest


def require_references() -> None:
    """Say what to install where there is nothing to compare with."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserError(
            f"compare.py needs PyTorch and transformers ({error}); "
            'pip install "torch>=2.4" "transformers==4.57.*"'
        ) from None
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()


def compare(name: str) -> float:
    """Compare the two libraries on one model, print the page's lines, return the difference.

    One model is freed before the other is made, and random weights are as large as the published
    ones: the largest, RemBERT, takes 2.3 GB.
    """
    import torch

    with tempfile.TemporaryDirectory() as temporary:
        source = name
        try:
            format = files.format_of(resolve(name).fetch(*files.WEIGHT_FILES))
        except UserError:
            if not find_preset(name):
                raise
            source, format = temporary, "huggingface"
            make_random(name, Path(temporary))
        batch = tokens(source, random=source != name)
        ours = run_ours(source, batch, Path(temporary) if format == "paddle" else None)
        folder = Path(temporary) if format == "paddle" else local_folder(source)
        theirs = run_theirs(folder, batch)
    preset = find_preset(name)
    print(f"huggingface {(preset and preset.repository) or name} vs paddle {name}")
    difference = (torch.tensor(ours) - torch.tensor(theirs)).abs()
    print("mean difference:", difference.mean())
    print("max difference:", difference.max())
    weights = "the folder's or repository's weights"
    if preset:
        weights = "published weights" if source == name else RANDOM
    print(f"({weights})", flush=True)
    return float(difference.max())


def local_folder(source: str) -> Path:
    """The folder with a model's weights and config, downloaded if need be."""
    files_of = resolve(source)
    files_of.fetch(folders.CONFIG)
    return files_of.fetch(*files.WEIGHT_FILES).parent


def make_random(preset: str, folder: Path) -> None:
    """Let transformers save a model of a preset's sizes with random numbers in every tensor."""
    import torch
    import transformers

    config: ModelConfig = config_of(preset)
    torch.manual_seed(0)
    sizes = transformers.AutoConfig.for_model(**config.to_dict())
    reference = transformers.AutoModel.from_config(sizes)
    for parameter in reference.parameters():
        if parameter.ndim == 1:  # biases and LayerNorms are otherwise 0 and 1: nothing to mix up
            parameter.add_(torch.randn_like(parameter) * config.initializer_range)
    reference.save_pretrained(folder)


def config_of(source: str) -> ModelConfig:
    """The config of a preset or folder."""
    from paddlenlp_ext.models.auto import AutoConfig

    return AutoConfig.from_pretrained(source)


def tokens(source: str, *, random: bool) -> Arrays:
    """The page's sentence in a model's own ids, or random ids; int64 [1, L] each."""
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer

    if not random:
        try:
            encoded = AutoTokenizer.from_pretrained(source)(SENTENCE, return_attention_mask=True)
            return {name: np.array([ids], "int64") for name, ids in encoded.items()}
        except UserError as error:
            print(f"random tokens, since there is no tokenizer: {error}")
    config = config_of(source)
    length = min(TOKENS, config.max_position_embeddings - 2)  # ERNIE-M begins at the third
    ids = np.random.default_rng(0).integers(4, config.vocab_size, (1, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def run_ours(source: str, batch: Arrays, export: Path | None) -> Any:
    """Last hidden states of our model, float32 [1, L, H]; `export`: where to save it for theirs."""
    import paddle

    from paddlenlp_ext.models.auto import AutoModel

    model = AutoModel.from_pretrained(source)
    with paddle.no_grad():
        output = model(**{name: paddle.to_tensor(value) for name, value in batch.items()})
    states = output.last_hidden_state.numpy()
    if export is not None:
        model.save_pretrained(export, format="huggingface")
    del model, output
    gc.collect()
    return states


def run_theirs(folder: Path, batch: Arrays) -> Any:
    """Last hidden states of transformers' model, float32 [1, L, H]."""
    import torch
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    output = model(**{name: torch.tensor(value) for name, value in batch.items()})
    return output.last_hidden_state.numpy()


if __name__ == "__main__":
    program.run(main)

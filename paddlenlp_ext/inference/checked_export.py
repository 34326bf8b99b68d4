"""Export a saved model, with all that is needed to run it, after both were compared on texts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import paddle

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.inference.export import INPUTS, export_logits, export_onnx
from paddlenlp_ext.inference.runners import ONNX_ENDING, OnnxRunner, ProgramRunner
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.conversion import find_tokenizer, saved_class
from paddlenlp_ext.models.heads import ForMultipleChoice
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.weights import folders

# Of several lengths and scripts, so that rows are padded.
TEXTS = (
    "A film.",
    "El tiempo fue peor de lo anunciado, y aun así todos se quedaron hasta el final.",
    "今天天气很好。",
    "It was sold for 1,250.75 € in 2019, two years after it had been found in a cellar in Lyon, "
    "and nobody has seen it since; some say that it never left the house.",
)
LONGEST = 64  # tokens of them
CHOICES = 2
TOLERANCE = 1e-4  # of float32 outputs, absolute
Array = npt.NDArray[Any]


def export_checked(
    model: str | Path | Source,
    folder: str | Path | None = None,
    format: Literal["inference", "onnx"] = "inference",
) -> str:
    """Write a model as a program, with its tokenizer and config, if it answers as the model does.

    Args:
        model: Folder, preset or repository; it is loaded as the class that it was saved from.
        folder: For the files; by default, `exported` in the model's own.
        format: Of Paddle Inference, or ONNX.

    Returns:
        What was written, and how far its answers are from the model's.

    Raises:
        UserError: There is no such model, ONNX needs what is not installed, or the answers differ.
    """
    source = resolve(model)
    if folder is None and source.folder is None:
        raise UserError(f"`output_dir`: expected a folder, since {source} has none of its own")
    target = Path(folder) if folder is not None else Path(source.name) / "exported"
    loaded = saved_class(source).from_pretrained(source)
    loaded.eval()
    tokenizer = find_tokenizer(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        work = Path(temporary)
        path = export_onnx(loaded, work) if format == "onnx" else export_logits(loaded, work)
        batch = _samples(loaded, tokenizer)
        with paddle.no_grad():
            output = loaded(**{name: paddle.to_tensor(ids) for name, ids in batch.items()})
        expected = [value.numpy() for value in output.values()]
        runner = OnnxRunner(path) if path.suffix == ONNX_ENDING else ProgramRunner(path)
        found = runner(batch)
        pairs = list(zip(found, expected, strict=True))
        difference = max(float(np.abs(one - other).max()) for one, other in pairs)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{source}: the exported program's answers differ by {difference:.1e} from the "
                f"model's, more than {TOLERANCE:.0e}; nothing was written"
            )
        if tokenizer is not None:
            tokenizer.save_pretrained(work)
        config = {"architectures": [type(loaded).__name__], **loaded.config.to_dict()}
        folders.write_config(work, config)
        target.mkdir(exist_ok=True)
        names = sorted(file.name for file in work.iterdir())
        for name in names:
            os.replace(work / name, target / name)
    same = int((expected[0].argmax(-1) == found[0].argmax(-1)).sum())
    return (
        f"{target}: {', '.join(names)}\n"
        f"{type(loaded).__name__} from {', '.join(batch)} (int64) to {', '.join(output)} (float32)"
        f"\nlargest difference from the model on {len(TEXTS)} texts: {difference:.1e} "
        f"(at most {TOLERANCE:.0e}); {same} of {expected[0].argmax(-1).size} highest values agree"
    )


def _samples(model: Model, tokenizer: Tokenizer | None) -> dict[str, Array]:
    """Return inputs of the program, int64 [B, L] each, [B, C, L] of a choice.

    Without a tokenizer they are random ids.
    """
    width = min(LONGEST, model.config.max_position_embeddings - 2)  # some begin with the third
    has_types = getattr(model.config, "type_vocab_size", 1) > 1
    if tokenizer is not None:
        encoded = tokenizer(
            list(TEXTS), padding=True, truncation=True, max_length=width,
            return_token_type_ids=has_types, return_attention_mask=True,
        )  # fmt: skip
        batch = {name: np.array(encoded[name], "int64") for name in INPUTS if name in encoded}
    else:
        size = (len(TEXTS), width)
        ids = np.random.default_rng(0).integers(2, model.config.vocab_size, size)
        batch = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if has_types:
            batch["token_type_ids"] = np.zeros_like(ids)
    batch = {name: batch[name] for name in INPUTS if name in batch}
    if isinstance(model, ForMultipleChoice):
        batch = {n: ids.reshape(-1, CHOICES, ids.shape[-1]) for n, ids in batch.items()}
    return batch

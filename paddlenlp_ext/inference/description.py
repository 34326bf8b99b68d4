"""Say what a model is, by its files: nothing is computed, and only a preset needs Paddle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import read_object
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.process import runtime
from paddlenlp_ext.tokenizers.auto import class_of
from paddlenlp_ext.weights import folders
from paddlenlp_ext.weights.files import WEIGHT_FILES

MANIFEST = "manifest.json"  # of a checkpoint
LABELS = 20  # that are named
SIZES = {
    "num_hidden_layers": "layers",
    "hidden_size": "wide",
    "num_attention_heads": "heads",
    "vocab_size": "tokens",
    "max_position_embeddings": "positions",
}


def describe(name_or_folder: str | Path | Source) -> dict[str, str]:
    """Describe a folder, a preset or a repository, of which the weights are read if they are there.

    Returns:
        What is known, by its name, in the order in which people ask.

    Raises:
        UserError: There is no such model, or a file of it is broken.
    """
    source = resolve(name_or_folder)
    family = folders.family_of(source)
    values = _preset_config(source) if source.preset else folders.read_config(source)
    kind = str((values.get("architectures") or [""])[0])
    sizes = (f"{values[name]:,} {what}" for name, what in SIZES.items() if name in values)
    found = {
        "model": str(source),
        "family": family,
        "class": kind,
        "sizes": ", ".join(sizes),
        "parameters": _parameters(source),
        "labels": _labels(values) if kind.endswith("Classification") else "",
        "problem type": str(values.get("problem_type") or ""),
        "tokenizer": _tokenizer(source),
        "from": _origin(source),
    }
    return {name: text for name, text in found.items() if text}


def _preset_config(source: Source) -> dict[str, Any]:
    """Read what a preset's row says, and what its family has where it says nothing."""
    runtime.import_paddle()
    from paddlenlp_ext.models.auto import AutoConfig

    return AutoConfig.from_pretrained(source).to_dict()


def _parameters(source: Source) -> str:
    """Count them in the weight file, where that is on this machine."""
    if source.folder is None or source.find(*WEIGHT_FILES) is None:
        return ""
    tensors, format = folders.read_model(source)
    floats = [array for array in tensors.values() if array.dtype.kind == "f"]
    size = sum(array.nbytes for array in floats)
    types = ", ".join(sorted({array.dtype.name for array in floats}))
    count = sum(array.size for array in floats)
    return f"{count:,} ({size / 2**20:,.1f} MiB of {types}, in the format of {format})"


def _labels(values: Mapping[str, Any]) -> str:
    names = values.get("id2label")
    if not isinstance(names, Mapping):
        return str(values.get("num_labels") or "")
    words = [f"{number} {name}" for number, name in names.items()]
    more = f", … {len(words)} in all" if len(words) > LABELS else ""
    return ", ".join(words[:LABELS]) + more


def _tokenizer(source: Source) -> str:
    try:
        return class_of(source).__name__
    except UserError as error:
        return f"none ({error})"


def _origin(source: Source) -> str:
    """Say where the weights are had, or by what run they were trained."""
    if source.folder is None:
        places = [f"{source.repository} on the Hub"] if source.repository else []
        places += ["Paddle's hosting"] if source.preset and source.preset.files else []
        return " or ".join(places)
    path = source.folder / MANIFEST
    if not path.is_file():
        return ""
    try:
        facts = read_object(path)
    except ValueError:
        return ""
    settings = facts.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    named = ("model_name_or_path", "task_name", "task", "task_type", "learning_rate", "batch_size")
    said = [f"{name} {settings[name]}" for name in named if settings.get(name) is not None]
    said.insert(0, f"step {facts.get('step')} of a run")
    if isinstance(facts.get("score"), (int, float)):
        said.append(f"score {facts['score']:.4f}")
    return ", ".join(said)

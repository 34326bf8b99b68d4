"""Model folders of three makers: ours, PaddleNLP's (older ones too), Hugging Face's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.disk import replace_file
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.weights.files import (
    INDEX_SUFFIX,
    WEIGHT_FILES,
    Array,
    Layout,
    layout_of,
    read_index,
    read_weights,
)
from paddlenlp_ext.weights.formats.pdparams import write_pdparams
from paddlenlp_ext.weights.formats.safe_tensors import write_safetensors

CONFIG = "config.json"
OLD_CONFIG = "model_config.json"  # PaddleNLP before 2.5


def read_config(source: str | Path | Source) -> dict[str, Any]:
    """Read the config of a folder, a preset or a repository, as its file has it.

    That of an older PaddleNLP is flattened.

    Raises:
        WeightsError: There is none, or it is no JSON object.
    """
    path = resolve(source).fetch(CONFIG, OLD_CONFIG)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if type(values) is dict:
            values = flatten_config(values)
    except (ValueError, RecursionError, OSError) as error:
        raise WeightsError(
            f"{path}: expected JSON in UTF-8, a config ({error}); get the file again"
        ) from error
    if type(values) is not dict:
        raise WeightsError(f"{path}: expected a JSON object, got {type(values).__name__}")
    classes = values.get("architectures")
    if classes and not (type(classes) is list and all(type(name) is str for name in classes)):
        raise WeightsError(f"{path}: architectures must be a list of names of classes")
    return values


def read_model(source: str | Path | Source) -> tuple[dict[str, Array], Layout]:
    """Read the weights of a folder, a preset or a repository.

    Returns:
        Their names to arrays, and whose names and layout these are.

    Raises:
        WeightsError: There are none, or they cannot be read.
    """
    source = resolve(source)
    path = source.fetch(*WEIGHT_FILES)
    if path.name.endswith(INDEX_SUFFIX):
        for shard in sorted({*read_index(path).values()}):
            source.fetch(shard)
    return read_weights(path), layout_of(path)


def write_model(
    folder: Path, tensors: Mapping[str, Array], config: Mapping[str, Any], layout: Layout
) -> None:
    """Write a folder that PaddleNLP 2.8 or transformers 4 loads.

    Args:
        folder: Where to; made if it is not there. Files of the same names are replaced.
        tensors: Names and layout of that format.
        config: What `config.json` will hold.
        layout: Whose format.

    Raises:
        WeightsError: The files cannot be written, or the folder has weights of another format that
            `read_model` would read in their place.
    """
    name = "model_state.pdparams" if layout == "paddle" else "model.safetensors"
    earlier = WEIGHT_FILES[: WEIGHT_FILES.index(name)]
    if hidden_by := [other for other in earlier if (folder / other).exists()]:
        raise WeightsError(
            f"{folder}: holds {hidden_by[0]}, which would be read in place of {name}; "
            "save into another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be made: {error.strerror}") from error
    with replace_file(folder / CONFIG) as temporary:
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    if layout == "paddle":
        write_pdparams(folder / name, tensors)
    else:
        write_safetensors(folder / name, tensors, {"format": "pt"})


def flatten_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a `model_config.json` of PaddleNLP before 2.5 into today's form.

    There, `init_args` holds the arguments of the inner model, and `init_class` the class:
    {"init_args": [{"hidden_size": 768, "init_class": "BertModel"}], "num_classes": 3,
    "init_class": "BertForSequenceClassification"}. Outer values win, as in PaddleNLP.

    Raises:
        ValueError: `init_args` is no list.
    """
    arguments = values.get("init_args") or []
    if type(arguments) is not list:
        raise ValueError(f"init_args is {type(arguments).__name__}, not list")
    flat = {name: value for name, value in values.items() if name != "init_args"}
    for inner in arguments:
        if isinstance(inner, dict):
            flat = {**flatten_config(inner), **flat}
    if "init_class" in flat:
        flat["architectures"] = [flat.pop("init_class")]
    return flat

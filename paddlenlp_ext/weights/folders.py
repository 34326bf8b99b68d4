"""Model folders of three makers: ours, PaddleNLP's (older ones too), Hugging Face's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import WeightsError, shown
from paddlenlp_ext.files.disk import read_object, replace_file
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.presets.families import FAMILIES, family_of_class, family_of_preset
from paddlenlp_ext.weights.files import (
    FORMATS,
    INDEX_SUFFIX,
    WEIGHT_FILES,
    Array,
    Format,
    format_of,
    read_index,
    read_weights,
)

CONFIG = "config.json"
OLD_CONFIG = "model_config.json"  # PaddleNLP before 2.5
CARD = "README.md"  # which its owner may edit
# What its heads took after their model, by what their names end with.
HEAD_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "ForSequenceClassification": ("num_classes", "dropout"),
    "ForTokenClassification": ("num_classes", "dropout"),
    "ForQuestionAnswering": ("dropout",),
    "ForMultipleChoice": ("num_choices", "dropout"),
}


def read_config(source: str | Path | Source) -> dict[str, Any]:
    """Read the config of a folder, a preset or a repository, as its file has it.

    That of an older PaddleNLP is flattened.

    Raises:
        WeightsError: There is none, or it is no JSON object.
    """
    return read_config_file(resolve(source).fetch(CONFIG, OLD_CONFIG))


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a config as its file has it; that of an older PaddleNLP is flattened.

    Raises:
        WeightsError: It is no JSON object.
    """
    try:
        written = read_object(path)
    except ValueError as error:
        raise WeightsError(f"{path}: is no config ({error}); get the file again") from error
    try:
        values = flatten_config(written)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: {error}") from error
    classes = values.get("architectures")
    if classes and not (type(classes) is list and all(type(name) is str for name in classes)):
        raise WeightsError(f"{path}: architectures must be a list of names of classes")
    return values


def family_of(source: str | Path | Source) -> str:
    """Find which family a preset, folder or repository belongs to.

    Raises:
        UserError: There is no such thing, or its family is not one of ours.
    """
    source = resolve(source)
    if source.preset and (preset_family := family_of_preset(source.name)):
        return preset_family
    values = read_config(source)
    name = str((values.get("architectures") or [""])[0])
    family = str(values.get("model_type") or family_of_class(name) or name)
    if family not in FAMILIES:
        raise WeightsError(
            f"{source}/config.json: model_type {shown(family)} is not one of {', '.join(FAMILIES)}"
        )
    return family


def read_model(source: str | Path | Source) -> tuple[dict[str, Array], Format]:
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
    return read_weights(path), format_of(path)


def write_model(
    folder: Path, tensors: Mapping[str, Array], config: Mapping[str, Any], format: Format
) -> None:
    """Write a folder that PaddleNLP 2.8 or transformers 4 loads.

    Args:
        folder: Where to; made if it is not there. Files of the same names are replaced.
        tensors: By name.
        config: What `config.json` will hold.
        format: Whose names and layout the tensors have.

    Raises:
        WeightsError: The files cannot be written, or the folder has weights of another format that
            `read_model` would read in their place.
    """
    name = FORMATS[format].name
    earlier = WEIGHT_FILES[: WEIGHT_FILES.index(name)]
    if hidden_by := [other for other in earlier if (folder / other).exists()]:
        raise WeightsError(
            f"{folder}: holds {hidden_by[0]}, which would be read in place of {name}; "
            "save into another folder"
        )
    write_config(folder, config)
    FORMATS[format].write(folder / name, tensors)


def write_config(folder: Path, config: Mapping[str, Any], name: str = CONFIG) -> None:
    """Write a config into a folder, which is made if it is not there.

    Args:
        folder: Where to.
        config: Its fields.
        name: Of the file.

    Raises:
        WeightsError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be made: {error.strerror}") from error
    with replace_file(folder / name) as temporary:
        temporary.write_text(config_text(config), encoding="utf-8")


def config_text(config: Mapping[str, Any]) -> str:
    """Return what a `config.json` holds."""
    return json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def flatten_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a `model_config.json` of PaddleNLP before 2.5 into today's form.

    There, `init_args` holds the arguments of the inner model, and `init_class` the class:
    {"init_args": [{"hidden_size": 768, "init_class": "BertModel"}], "num_classes": 3,
    "init_class": "BertForSequenceClassification"}. Outer values win, as in PaddleNLP. A head's
    arguments may also stand without their names behind its model: [{…}, 3].

    Raises:
        ValueError: `init_args` is no list, or nothing says what a value in it is.
    """
    arguments = values.get("init_args") or []
    if type(arguments) is not list:
        raise ValueError(f"init_args is {type(arguments).__name__}, not list")
    flat = {name: value for name, value in values.items() if name != "init_args"}
    name = str(flat.get("init_class"))
    order = next((rest for task, rest in HEAD_ARGUMENTS.items() if name.endswith(task)), ())
    if arguments and isinstance(arguments[0], dict):
        flat = {**flatten_config(arguments[0]), **flat}
        arguments = arguments[1:]
    if len(arguments) > len(order):
        raise ValueError(
            f"init_args has {shown(arguments[len(order)])}, and nothing says which argument of "
            f"{shown(name)} it is; write a config.json with names"
        )
    flat = dict(zip(order, arguments, strict=False)) | flat
    if "init_class" in flat:
        flat["architectures"] = [flat.pop("init_class")]
    return flat

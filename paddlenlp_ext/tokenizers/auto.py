"""The tokenizer of a folder, a preset or a hub repository, whatever its family."""

from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.files.sources import Source, located, resolve
from paddlenlp_ext.presets.families import FAMILIES, family_of_class
from paddlenlp_ext.tokenizers import saving
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import (
    BertTokenizer,
    ConvBertTokenizer,
    ElectraTokenizer,
    ErnieTokenizer,
)
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer
from paddlenlp_ext.tokenizers.xlm_r import XLMRobertaTokenizer
from paddlenlp_ext.weights import folders

CLASSES: dict[str, type[Tokenizer]] = {
    cls.__name__: cls
    for cls in (
        BertTokenizer,
        ConvBertTokenizer,
        ElectraTokenizer,
        ErnieTokenizer,
        ErnieMTokenizer,
        RemBertTokenizer,
        XLMRobertaTokenizer,
    )
}
OF_ANY_FAMILY = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "PretrainedTokenizer")
BY_FAMILY = {family: CLASSES[row.tokenizer] for family, row in FAMILIES.items()}


class AutoTokenizer:
    """Chooses among the families; has no instances of its own."""

    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | Path | Source, **overrides: Any
    ) -> Tokenizer:
        """Load the tokenizer of a folder, a preset or a hub repository.

        Args:
            pretrained_model_name_or_path: As for `Tokenizer.from_pretrained`.
            **overrides: Settings that win over the saved ones.

        Raises:
            UserError: It is of no family here, or a file is missing or broken.
        """
        source, overrides = located(pretrained_model_name_or_path, overrides)
        return class_of(source).from_pretrained(source, **overrides)


def class_of(name_or_folder: str | Path | Source) -> type[Tokenizer]:
    """Find the tokenizer class: of a preset by its row, else as the saved files say.

    Raises:
        UserError: The row or the files name a class or a family that is not here.
    """
    source = resolve(name_or_folder)
    if preset := source.preset:
        if preset.tokenizer not in CLASSES:
            raise UserError(
                f"{source}: its tokenizer is {preset.tokenizer}, which is not one of "
                f"{', '.join(CLASSES)}; take another preset, or give the model ids of PaddleNLP's"
            )
        return CLASSES[preset.tokenizer]
    settings = saving.read_json(source.find(saving.CONFIG))
    saved = settings.get("tokenizer_class") or settings.get("init_class")  # PaddleNLP before 2.3
    if saved and saved not in OF_ANY_FAMILY:
        # The same tokenizer on a library: "...Fast" of transformers, "...FastTokenizer" of
        # PaddleNLP.
        name = str(saved).removesuffix("Fast").replace("FastTokenizer", "Tokenizer")
        found = CLASSES.get(name)
        if found is None:
            raise UserError(
                f"{source}/{saving.CONFIG}: tokenizer_class {shown(saved)} is not one of "
                f"{', '.join(CLASSES)}"
            )
        return found
    config = folders.read_config(source)
    # Older PaddleNLP folders name a class of a model only.
    model = str(config.get("model_type") or (config.get("architectures") or [""])[0])
    family = model if model in FAMILIES else family_of_class(model)
    if family is None:
        raise UserError(
            f"{source}/config.json: model_type {shown(model)} is not one of {', '.join(FAMILIES)}"
        )
    return BY_FAMILY[family]

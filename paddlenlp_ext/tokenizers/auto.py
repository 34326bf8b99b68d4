"""The tokenizer of a folder, a preset or a hub repository, whatever its family."""

from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers import saving
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.sentencepiece import (
    ErnieMTokenizer,
    RemBertTokenizer,
)
from paddlenlp_ext.tokenizers.wordpiece import (
    BertTokenizer,
    ConvBertTokenizer,
    ElectraTokenizer,
    ErnieTokenizer,
)
from paddlenlp_ext.weights import folders

# By `model_type` in config.json. The class names are those of `tokenizer_class`.
FAMILIES: dict[str, type[Tokenizer]] = {
    "bert": BertTokenizer,
    "convbert": ConvBertTokenizer,
    "electra": ElectraTokenizer,
    "ernie": ErnieTokenizer,
    "ernie_m": ErnieMTokenizer,
    "rembert": RemBertTokenizer,
}


class AutoTokenizer:
    """Chooses among the families; has no instances of its own."""

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: str | Path, **overrides: Any) -> Tokenizer:
        """Load the tokenizer of a folder, a preset or a hub repository.

        Args:
            pretrained_model_name_or_path: As for `Tokenizer.from_pretrained`.
            **overrides: Settings that win over the saved ones.

        Raises:
            UserError: It is of no family here, or a file is missing or broken.
        """
        source = str(pretrained_model_name_or_path)
        return family_of(source).from_pretrained(source, **overrides)


def family_of(source: str) -> type[Tokenizer]:
    """Find the tokenizer class: of a preset by its name, else as the saved files say.

    Raises:
        UserError: The files do not tell, or name a family that is not here.
    """
    if not Path(source).is_dir():
        for family in FAMILIES.values():
            if source in family.presets:
                return family
    names = {family.__name__: family for family in FAMILIES.values()}
    saved = saving.read_settings(source).get("tokenizer_class")
    if saved is not None:
        # transformers calls the same tokenizer "...Fast" when it runs on the `tokenizers` library.
        found = names.get(str(saved)) or names.get(str(saved).removesuffix("Fast"))
        if found is None:
            raise UserError(
                f"{source}/{saving.CONFIG}: tokenizer_class {saved!r} is not one of "
                f"{', '.join(names)}"
            )
        return found
    config = folders.read_config(source)
    model = str(config.get("model_type") or (config.get("architectures") or [""])[0])
    # Older PaddleNLP folders name a class only: "ErnieMForTokenClassification" begins with both
    # "Ernie" and "ErnieM", and the longer one is meant.
    fitting = [name for name in names if model.startswith(name.removesuffix("Tokenizer"))]
    found = FAMILIES.get(model) or names.get(max(fitting, key=len, default=""))
    if found is None:
        raise UserError(
            f"{source}/config.json: model_type {model!r} is not one of {', '.join(FAMILIES)}"
        )
    return found

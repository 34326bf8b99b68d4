"""Find the model of a checkpoint for a task."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, located
from paddlenlp_ext.presets.families import FAMILIES
from paddlenlp_ext.weights.folders import family_of


class AutoModel:
    """The bare model of whatever family the checkpoint is of; subclasses have a head."""

    task: ClassVar[str] = "Model"

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path | Source, **overrides: Any) -> Any:
        """Load a model of the checkpoint's family.

        Raises:
            UserError: The family has no such model in PaddleNLP.
        """
        source, overrides = located(name_or_folder, overrides)
        return cls._class_of(family_of(source)).from_pretrained(source, **overrides)

    @classmethod
    def from_config(cls, config: Any, **values: Any) -> Any:
        """Begin a model of the config's family; `values` are fields to change."""
        return cls._class_of(config.model_type).from_config(config, **values)

    @classmethod
    def _class_of(cls, family: str) -> Any:
        row = FAMILIES[family]
        name = row.prefix + cls.task
        try:
            module = import_module(f"paddlenlp_ext.paddlenlp.transformers.{row.file}.modeling")
            return getattr(module, name)
        except (ModuleNotFoundError, AttributeError):
            raise UserError(
                f"PaddleNLP has no {name}, nor has what stands in for it; "
                f"paddlenlp_ext.transformers may have one"
            ) from None


class AutoModelForPretraining(AutoModel):
    """With the heads of its pretraining."""

    task = "ForPretraining"


class AutoModelForMaskedLM(AutoModel):
    """With a head that fills masked tokens."""

    task = "ForMaskedLM"


class AutoModelForSequenceClassification(AutoModel):
    """With a classifier of whole texts."""

    task = "ForSequenceClassification"


class AutoModelForTokenClassification(AutoModel):
    """With a classifier of tokens."""

    task = "ForTokenClassification"


class AutoModelForQuestionAnswering(AutoModel):
    """With a head that finds answers."""

    task = "ForQuestionAnswering"


class AutoModelForMultipleChoice(AutoModel):
    """With a head that chooses a text."""

    task = "ForMultipleChoice"

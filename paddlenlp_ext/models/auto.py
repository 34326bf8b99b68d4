"""Find the family of a checkpoint, and its class for a task."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, located
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.presets.families import FAMILIES
from paddlenlp_ext.weights.folders import family_of as family_of


def base_class(family: str) -> type[Model]:
    """Return the bare model of a family."""
    return model_class(family, "Model")


def model_class(family: str, task: str) -> type[Model]:
    """Return the class of a family for a task.

    Args:
        family: A key of `FAMILIES`.
        task: What the class name ends with: `Model`, `ForSequenceClassification`, …

    Raises:
        UserError: The family has no such class.
    """
    row = FAMILIES[family]
    name = row.others if task == "ForExtraction" else row.prefix + task
    found = getattr(import_module(f"paddlenlp_ext.models.{row.file}"), name, None)
    if found is None:
        raise UserError(f"{family} has no class {row.prefix}{task}")
    cls: type[Model] = found
    return cls


class AutoConfig:
    """The config of whatever family the checkpoint is of."""

    @staticmethod
    def from_pretrained(name_or_folder: str | Path | Source, **overrides: Any) -> ModelConfig:
        """Read a preset's, folder's or repository's config; see `ModelConfig.from_pretrained`."""
        source, overrides = located(name_or_folder, overrides)
        return base_class(family_of(source)).config_class.from_pretrained(source, **overrides)


class AutoModel:
    """The bare model of whatever family the checkpoint is of; subclasses have a head."""

    task: ClassVar[str] = "Model"

    @classmethod
    def from_config(cls, config: ModelConfig, **config_overrides: Any) -> Model:
        """Build a model of the config's family with new weights; see `Model.from_config`."""
        return model_class(config.model_type, cls.task).from_config(config, **config_overrides)

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path | Source,
        *,
        config: ModelConfig | None = None,
        **config_overrides: Any,
    ) -> Model:
        """Load a model of the checkpoint's family; see `Model.from_pretrained`."""
        source, config_overrides = located(name_or_folder, config_overrides)
        found = model_class(family_of(source), cls.task)
        return found.from_pretrained(source, config=config, **config_overrides)


class AutoModelForPreTraining(AutoModel):
    """With the heads of its pretraining."""

    task = "ForPreTraining"


class AutoModelForMaskedLM(AutoModel):
    """With a head that fills masked tokens."""

    task = "ForMaskedLM"


class AutoModelForCausalLM(AutoModel):
    """As a decoder with a head that predicts the next token."""

    task = "ForCausalLM"


class AutoModelForNextSentencePrediction(AutoModel):
    """With a head that predicts whether one text follows another."""

    task = "ForNextSentencePrediction"


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

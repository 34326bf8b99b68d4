"""ERNIE's models, answering as PaddleNLP's."""

from __future__ import annotations

from paddlenlp_ext.models import ernie as library
from paddlenlp_ext.paddlenlp.transformers.criteria import (
    ErniePretrainingCriterion as ErniePretrainingCriterion,
)
from paddlenlp_ext.paddlenlp.transformers.ernie.configuration import ErnieConfig
from paddlenlp_ext.paddlenlp.transformers.model_utils import PretrainedModel, leaving_to_config


class ErniePretrainedModel(PretrainedModel):
    """What ERNIE's models have in common, and a user's own stand on."""

    config_class = ErnieConfig
    presets = library.ErnieModel.presets
    names = library.ErnieModel.names
    optional_modules = library.ErnieModel.optional_modules
    base_model_prefix = "ernie"
    pretrained_init_configuration = ErnieConfig.pretrained_init_configuration


@leaving_to_config
class ErnieModel(ErniePretrainedModel, library.ErnieModel):
    """Ids to hidden states."""


@leaving_to_config
class ErnieForMaskedLM(ErniePretrainedModel, library.ErnieForMaskedLM):
    """ERNIE that fills masked tokens."""

    backbone_class = ErnieModel


@leaving_to_config
class ErnieForMultipleChoice(ErniePretrainedModel, library.ErnieForMultipleChoice):
    """ERNIE that chooses one of several texts."""

    backbone_class = ErnieModel


@leaving_to_config
class ErnieForQuestionAnswering(ErniePretrainedModel, library.ErnieForQuestionAnswering):
    """ERNIE that finds an answer in a text."""

    backbone_class = ErnieModel


@leaving_to_config
class ErnieForSequenceClassification(ErniePretrainedModel, library.ErnieForSequenceClassification):
    """ERNIE that decides on one text or a pair."""

    backbone_class = ErnieModel


@leaving_to_config
class ErnieForTokenClassification(ErniePretrainedModel, library.ErnieForTokenClassification):
    """ERNIE that decides on every token."""

    backbone_class = ErnieModel


@leaving_to_config
class ErnieForPretraining(ErniePretrainedModel, library.ErnieForPretraining):
    """ERNIE that fills masked tokens and judges whether sentences follow one another."""

    backbone_class = ErnieModel


@leaving_to_config
class UIE(ErniePretrainedModel, library.UIE):
    """Universal information extraction with ERNIE."""

    backbone_class = ErnieModel

"""BERT's models, answering as PaddleNLP's."""

from __future__ import annotations

from paddlenlp_ext.models import bert as library
from paddlenlp_ext.paddlenlp.transformers.bert.configuration import BertConfig
from paddlenlp_ext.paddlenlp.transformers.criteria import (
    BertPretrainingCriterion as BertPretrainingCriterion,
)
from paddlenlp_ext.paddlenlp.transformers.model_utils import PretrainedModel, leaving_to_config


class BertPretrainedModel(PretrainedModel):
    """What BERT's models have in common, and a user's own stand on."""

    config_class = BertConfig
    presets = library.BertModel.presets
    names = library.BertModel.names
    optional_modules = library.BertModel.optional_modules
    base_model_prefix = "bert"
    pretrained_init_configuration = BertConfig.pretrained_init_configuration


@leaving_to_config
class BertModel(BertPretrainedModel, library.BertModel):
    """Ids to hidden states."""


@leaving_to_config
class BertForMaskedLM(BertPretrainedModel, library.BertForMaskedLM):
    """BERT that fills masked tokens."""

    backbone_class = BertModel


@leaving_to_config
class BertForMultipleChoice(BertPretrainedModel, library.BertForMultipleChoice):
    """BERT that chooses one of several texts."""

    backbone_class = BertModel


@leaving_to_config
class BertForQuestionAnswering(BertPretrainedModel, library.BertForQuestionAnswering):
    """BERT that finds an answer in a text."""

    backbone_class = BertModel


@leaving_to_config
class BertForSequenceClassification(BertPretrainedModel, library.BertForSequenceClassification):
    """BERT that decides on one text or a pair."""

    backbone_class = BertModel


@leaving_to_config
class BertForTokenClassification(BertPretrainedModel, library.BertForTokenClassification):
    """BERT that decides on every token."""

    backbone_class = BertModel


@leaving_to_config
class BertForPretraining(BertPretrainedModel, library.BertForPretraining):
    """BERT that fills masked tokens and judges whether sentences follow one another."""

    backbone_class = BertModel

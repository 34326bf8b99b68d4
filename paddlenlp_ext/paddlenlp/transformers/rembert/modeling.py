"""RemBERT's models, answering as PaddleNLP's."""

from __future__ import annotations

from paddlenlp_ext.models import rembert as library
from paddlenlp_ext.paddlenlp.transformers.model_utils import PretrainedModel, leaving_to_config
from paddlenlp_ext.paddlenlp.transformers.rembert.configuration import RemBertConfig


class RemBertPretrainedModel(PretrainedModel):
    """What RemBERT's models have in common, and a user's own stand on."""

    config_class = RemBertConfig
    presets = library.RemBertModel.presets
    names = library.RemBertModel.names
    optional_modules = library.RemBertModel.optional_modules
    base_model_prefix = "rembert"
    pretrained_init_configuration = RemBertConfig.pretrained_init_configuration


@leaving_to_config
class RemBertModel(RemBertPretrainedModel, library.RemBertModel):
    """Ids to hidden states."""


@leaving_to_config
class RemBertForMaskedLM(RemBertPretrainedModel, library.RemBertForMaskedLM):
    """RemBERT that fills masked tokens."""

    backbone_class = RemBertModel


@leaving_to_config
class RemBertForMultipleChoice(RemBertPretrainedModel, library.RemBertForMultipleChoice):
    """RemBERT that chooses one of several texts."""

    backbone_class = RemBertModel


@leaving_to_config
class RemBertForQuestionAnswering(RemBertPretrainedModel, library.RemBertForQuestionAnswering):
    """RemBERT that finds an answer in a text."""

    backbone_class = RemBertModel


@leaving_to_config
class RemBertForSequenceClassification(
    RemBertPretrainedModel, library.RemBertForSequenceClassification
):
    """RemBERT that decides on one text or a pair."""

    backbone_class = RemBertModel


@leaving_to_config
class RemBertForTokenClassification(RemBertPretrainedModel, library.RemBertForTokenClassification):
    """RemBERT that decides on every token."""

    backbone_class = RemBertModel

"""RemBERT's models, answering as PaddleNLP's."""

from __future__ import annotations

from paddlenlp_ext.models import rembert as library
from paddlenlp_ext.paddlenlp.transformers.model_utils import PretrainedModel, answers_bare
from paddlenlp_ext.paddlenlp.transformers.rembert.configuration import RemBertConfig


class RemBertPretrainedModel(PretrainedModel):
    """What RemBERT's models have in common, and a user's own stand on."""

    config_class = RemBertConfig
    presets = library.RemBertModel.presets
    names = library.RemBertModel.names
    optional_modules = library.RemBertModel.optional_modules
    base_model_prefix = "rembert"
    pretrained_init_configuration = RemBertConfig.pretrained_init_configuration


@answers_bare
class RemBertModel(RemBertPretrainedModel, library.RemBertModel):
    """Ids to hidden states."""


@answers_bare
class RemBertForMaskedLM(RemBertPretrainedModel, library.RemBertForMaskedLM):
    """RemBERT that fills masked tokens."""

    backbone_class = RemBertModel


@answers_bare
class RemBertForMultipleChoice(RemBertPretrainedModel, library.RemBertForMultipleChoice):
    """RemBERT that chooses one of several texts."""

    backbone_class = RemBertModel


@answers_bare
class RemBertForQuestionAnswering(RemBertPretrainedModel, library.RemBertForQuestionAnswering):
    """RemBERT that finds an answer in a text."""

    backbone_class = RemBertModel


@answers_bare
class RemBertForSequenceClassification(
    RemBertPretrainedModel, library.RemBertForSequenceClassification
):
    """RemBERT that decides on one text or a pair."""

    backbone_class = RemBertModel


@answers_bare
class RemBertForTokenClassification(RemBertPretrainedModel, library.RemBertForTokenClassification):
    """RemBERT that decides on every token."""

    backbone_class = RemBertModel

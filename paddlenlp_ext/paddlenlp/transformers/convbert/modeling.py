"""ConvBERT's models, answering as PaddleNLP's."""

from __future__ import annotations

from paddlenlp_ext.models import convbert as library
from paddlenlp_ext.paddlenlp.transformers.convbert.configuration import ConvBertConfig
from paddlenlp_ext.paddlenlp.transformers.criteria import (
    ConvBertPretrainingCriterion as ConvBertPretrainingCriterion,
)
from paddlenlp_ext.paddlenlp.transformers.model_utils import PretrainedModel, leaving_to_config
from paddlenlp_ext.paddlenlp.transformers.total_pretraining import ForTotalPretraining


class ConvBertPretrainedModel(PretrainedModel):
    """What ConvBERT's models have in common, and a user's own stand on."""

    config_class = ConvBertConfig
    presets = library.ConvBertModel.presets
    names = library.ConvBertModel.names
    optional_modules = library.ConvBertModel.optional_modules
    base_model_prefix = "convbert"
    pretrained_init_configuration = ConvBertConfig.pretrained_init_configuration


@leaving_to_config
class ConvBertModel(ConvBertPretrainedModel, library.ConvBertModel):
    """Ids to hidden states."""


@leaving_to_config
class ConvBertForMultipleChoice(ConvBertPretrainedModel, library.ConvBertForMultipleChoice):
    """ConvBERT that chooses one of several texts."""

    backbone_class = ConvBertModel


@leaving_to_config
class ConvBertForQuestionAnswering(ConvBertPretrainedModel, library.ConvBertForQuestionAnswering):
    """ConvBERT that finds an answer in a text."""

    backbone_class = ConvBertModel


@leaving_to_config
class ConvBertForSequenceClassification(
    ConvBertPretrainedModel, library.ConvBertForSequenceClassification
):
    """ConvBERT that decides on one text or a pair."""

    backbone_class = ConvBertModel


@leaving_to_config
class ConvBertForTokenClassification(
    ConvBertPretrainedModel, library.ConvBertForTokenClassification
):
    """ConvBERT that decides on every token."""

    backbone_class = ConvBertModel


@leaving_to_config
class ConvBertGenerator(ConvBertPretrainedModel, library.ConvBertGenerator):
    """ConvBERT that fills masked tokens."""

    backbone_class = ConvBertModel


@leaving_to_config
class ConvBertDiscriminator(ConvBertPretrainedModel, library.ConvBertDiscriminator):
    """ConvBERT that finds replaced tokens."""

    backbone_class = ConvBertModel


class ConvBertForTotalPretraining(
    ForTotalPretraining, ConvBertPretrainedModel, library.ConvBertForPreTraining
):
    """Generator and discriminator at once."""

    presets = library.ConvBertForPreTraining.presets  # type: ignore[assignment]
    names = library.ConvBertForPreTraining.names  # type: ignore[assignment]
    generator_class = ConvBertGenerator
    discriminator_class = ConvBertDiscriminator


ConvBertForMaskedLM = ConvBertGenerator
ConvBertForPretraining = ConvBertForTotalPretraining

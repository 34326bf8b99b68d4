"""ELECTRA's models, answering as PaddleNLP's."""

from __future__ import annotations

from paddlenlp_ext.models import electra as library
from paddlenlp_ext.paddlenlp.transformers.criteria import (
    ElectraPretrainingCriterion as ElectraPretrainingCriterion,
)
from paddlenlp_ext.paddlenlp.transformers.electra.configuration import ElectraConfig
from paddlenlp_ext.paddlenlp.transformers.model_utils import PretrainedModel, leaving_to_config
from paddlenlp_ext.paddlenlp.transformers.total_pretraining import ForTotalPretraining


class ElectraPretrainedModel(PretrainedModel):
    """What ELECTRA's models have in common, and a user's own stand on."""

    config_class = ElectraConfig
    presets = library.ElectraModel.presets
    names = library.ElectraModel.names
    optional_modules = library.ElectraModel.optional_modules
    base_model_prefix = "electra"
    pretrained_init_configuration = ElectraConfig.pretrained_init_configuration


@leaving_to_config
class ElectraModel(ElectraPretrainedModel, library.ElectraModel):
    """Ids to hidden states."""


@leaving_to_config
class ElectraForMultipleChoice(ElectraPretrainedModel, library.ElectraForMultipleChoice):
    """ELECTRA that chooses one of several texts."""

    backbone_class = ElectraModel


@leaving_to_config
class ElectraForQuestionAnswering(ElectraPretrainedModel, library.ElectraForQuestionAnswering):
    """ELECTRA that finds an answer in a text."""

    backbone_class = ElectraModel


@leaving_to_config
class ElectraForSequenceClassification(
    ElectraPretrainedModel, library.ElectraForSequenceClassification
):
    """ELECTRA that decides on one text or a pair."""

    backbone_class = ElectraModel


@leaving_to_config
class ElectraForTokenClassification(ElectraPretrainedModel, library.ElectraForTokenClassification):
    """ELECTRA that decides on every token."""

    backbone_class = ElectraModel


@leaving_to_config
class ElectraGenerator(ElectraPretrainedModel, library.ElectraGenerator):
    """ELECTRA that fills masked tokens."""

    backbone_class = ElectraModel


@leaving_to_config
class ElectraDiscriminator(ElectraPretrainedModel, library.ElectraDiscriminator):
    """ELECTRA that finds replaced tokens."""

    backbone_class = ElectraModel


class ElectraForTotalPretraining(
    ForTotalPretraining, ElectraPretrainedModel, library.ElectraForPreTraining
):
    """Generator and discriminator at once."""

    presets = library.ElectraForPreTraining.presets  # type: ignore[assignment]
    names = library.ElectraForPreTraining.names  # type: ignore[assignment]
    generator_class = ElectraGenerator
    discriminator_class = ElectraDiscriminator


ElectraForMaskedLM = ElectraGenerator
ElectraForPretraining = ElectraForTotalPretraining

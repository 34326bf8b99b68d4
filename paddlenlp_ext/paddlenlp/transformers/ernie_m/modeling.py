"""ERNIE-M's models, answering as PaddleNLP's."""

from __future__ import annotations

from paddlenlp_ext.models import ernie_m as library
from paddlenlp_ext.paddlenlp.transformers.ernie_m.configuration import ErnieMConfig
from paddlenlp_ext.paddlenlp.transformers.model_utils import PretrainedModel, leaving_to_config


class ErnieMPretrainedModel(PretrainedModel):
    """What ERNIE-M's models have in common, and a user's own stand on."""

    config_class = ErnieMConfig
    presets = library.ErnieMModel.presets
    names = library.ErnieMModel.names
    optional_modules = library.ErnieMModel.optional_modules
    base_model_prefix = "ernie_m"
    pretrained_init_configuration = ErnieMConfig.pretrained_init_configuration


@leaving_to_config
class ErnieMModel(ErnieMPretrainedModel, library.ErnieMModel):
    """Ids to hidden states."""


@leaving_to_config
class ErnieMForMultipleChoice(ErnieMPretrainedModel, library.ErnieMForMultipleChoice):
    """ERNIE-M that chooses one of several texts."""

    backbone_class = ErnieMModel


@leaving_to_config
class ErnieMForQuestionAnswering(ErnieMPretrainedModel, library.ErnieMForQuestionAnswering):
    """ERNIE-M that finds an answer in a text."""

    backbone_class = ErnieMModel


@leaving_to_config
class ErnieMForSequenceClassification(
    ErnieMPretrainedModel, library.ErnieMForSequenceClassification
):
    """ERNIE-M that decides on one text or a pair."""

    backbone_class = ErnieMModel


@leaving_to_config
class ErnieMForTokenClassification(ErnieMPretrainedModel, library.ErnieMForTokenClassification):
    """ERNIE-M that decides on every token."""

    backbone_class = ErnieMModel


@leaving_to_config
class UIEM(ErnieMPretrainedModel, library.UIEM):
    """Universal information extraction with ERNIE-M."""

    backbone_class = ErnieMModel

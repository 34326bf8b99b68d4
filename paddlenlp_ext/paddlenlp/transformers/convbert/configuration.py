"""The config of ConvBERT, with PaddleNLP's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from paddlenlp_ext.models import convbert as library
from paddlenlp_ext.paddlenlp.transformers.configuration_utils import PretrainedConfig
from paddlenlp_ext.presets.convbert import ROWS

CONVBERT_PRETRAINED_INIT_CONFIGURATION = {name: {**row.config} for name, row in ROWS.items()}


class ConvBertConfig(PretrainedConfig, library.ConvBertConfig):
    """Sizes of a ConvBERT; see the class of the library."""

    pretrained_init_configuration: ClassVar[Mapping[str, Mapping[str, Any]]] = (
        CONVBERT_PRETRAINED_INIT_CONFIGURATION
    )
    defaults: ClassVar[Mapping[str, Any]] = {"pool_act": "tanh"}

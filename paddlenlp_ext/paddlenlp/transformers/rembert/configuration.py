"""The config of RemBERT, with PaddleNLP's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from paddlenlp_ext.models import rembert as library
from paddlenlp_ext.paddlenlp.transformers.configuration_utils import PretrainedConfig
from paddlenlp_ext.presets.rembert import ROWS

REMBERT_PRETRAINED_INIT_CONFIGURATION = {name: {**row.config} for name, row in ROWS.items()}


class RemBertConfig(PretrainedConfig, library.RemBertConfig):
    """Sizes of a RemBERT; see the class of the library."""

    pretrained_init_configuration: ClassVar[Mapping[str, Mapping[str, Any]]] = (
        REMBERT_PRETRAINED_INIT_CONFIGURATION
    )

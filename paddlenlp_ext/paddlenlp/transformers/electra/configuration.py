"""The config of ELECTRA, with PaddleNLP's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from paddlenlp_ext.models import electra as library
from paddlenlp_ext.paddlenlp.transformers.configuration_utils import PretrainedConfig
from paddlenlp_ext.presets.electra import ROWS

ELECTRA_PRETRAINED_INIT_CONFIGURATION = {name: {**row.config} for name, row in ROWS.items()}


class ElectraConfig(PretrainedConfig, library.ElectraConfig):
    """Sizes of an ELECTRA; see the class of the library."""

    pretrained_init_configuration: ClassVar[Mapping[str, Mapping[str, Any]]] = (
        ELECTRA_PRETRAINED_INIT_CONFIGURATION
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 22608,
        "embedding_size": 768,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    }

"""The config of ERNIE, with PaddleNLP's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from paddlenlp_ext.models import ernie as library
from paddlenlp_ext.paddlenlp.transformers.configuration_utils import PretrainedConfig
from paddlenlp_ext.presets.ernie import ROWS

ERNIE_PRETRAINED_INIT_CONFIGURATION = {name: {**row.config} for name, row in ROWS.items()}


class ErnieConfig(PretrainedConfig, library.ErnieConfig):
    """Sizes of an ERNIE; see the class of the library."""

    pretrained_init_configuration: ClassVar[Mapping[str, Mapping[str, Any]]] = (
        ERNIE_PRETRAINED_INIT_CONFIGURATION
    )
    defaults: ClassVar[Mapping[str, Any]] = {"type_vocab_size": 16}

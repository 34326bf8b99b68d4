"""The config of ERNIE-M, with PaddleNLP's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from paddlenlp_ext.models import ernie_m as library
from paddlenlp_ext.paddlenlp.transformers.configuration_utils import PretrainedConfig
from paddlenlp_ext.presets.ernie_m import ROWS

ERNIE_M_PRETRAINED_INIT_CONFIGURATION = {name: {**row.config} for name, row in ROWS.items()}


class ErnieMConfig(PretrainedConfig, library.ErnieMConfig):
    """Sizes of an ERNIE-M; see the class of the library."""

    pretrained_init_configuration: ClassVar[Mapping[str, Mapping[str, Any]]] = (
        ERNIE_M_PRETRAINED_INIT_CONFIGURATION
    )

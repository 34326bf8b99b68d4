"""The config of BERT, with PaddleNLP's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from paddlenlp_ext.models import bert as library
from paddlenlp_ext.paddlenlp.transformers.configuration_utils import PretrainedConfig
from paddlenlp_ext.presets.bert import ROWS

BERT_PRETRAINED_INIT_CONFIGURATION = {name: {**row.config} for name, row in ROWS.items()}


class BertConfig(PretrainedConfig, library.BertConfig):
    """Sizes of a BERT; see the class of the library."""

    pretrained_init_configuration: ClassVar[Mapping[str, Mapping[str, Any]]] = (
        BERT_PRETRAINED_INIT_CONFIGURATION
    )
    defaults: ClassVar[Mapping[str, Any]] = {"type_vocab_size": 16}

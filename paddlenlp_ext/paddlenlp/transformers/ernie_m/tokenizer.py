"""ERNIE-M's tokenizer, under PaddleNLP's module name."""

from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    ErnieMTokenizer as ErnieMTokenizer,
)

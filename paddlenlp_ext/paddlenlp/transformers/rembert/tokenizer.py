"""RemBERT's tokenizer, under PaddleNLP's module name."""

from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    RemBertTokenizer as RemBertTokenizer,
)

"""Find the tokenizer of a checkpoint."""

from paddlenlp_ext.paddlenlp.transformers.tokenizers import AutoTokenizer as AutoTokenizer

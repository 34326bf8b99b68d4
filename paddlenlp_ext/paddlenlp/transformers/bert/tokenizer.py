"""BERT's tokenizer, under PaddleNLP's module name."""

from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    BasicTokenizer as BasicTokenizer,
)
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    BertTokenizer as BertTokenizer,
)
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    WordpieceTokenizer as WordpieceTokenizer,
)
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    _is_control as _is_control,
)
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    _is_punctuation as _is_punctuation,
)
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    _is_whitespace as _is_whitespace,
)

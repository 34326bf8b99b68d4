"""What tokenizers have in common, under PaddleNLP's module name."""

from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    AddedToken as AddedToken,
)
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    BatchEncoding as BatchEncoding,
)
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    PretrainedTokenizer as PretrainedTokenizer,
)
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    PretrainedTokenizerBase as PretrainedTokenizerBase,
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
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    convert_to_unicode as convert_to_unicode,
)
from paddlenlp_ext.paddlenlp.transformers.tokenizers import (
    whitespace_tokenize as whitespace_tokenize,
)

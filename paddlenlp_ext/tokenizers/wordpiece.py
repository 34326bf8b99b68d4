"""WordPiece, the segmentation of BERT, ConvBERT, ELECTRA and ERNIE.

Text is cleaned, lower-cased if the vocabulary is, cut at spaces, punctuation and around Chinese
characters; each word then falls greedily into the longest pieces of the vocabulary
(https://github.com/google-research/bert, tokenization.py). The `tokenizers` library does it.
"""

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from paddlenlp_ext.tokenizers.segmentation import LibrarySegmenter, Vocabulary

LONGEST_WORD = 100  # characters; longer words become the unknown token


def wordpiece(
    vocabulary: Vocabulary,
    unknown: str,
    *,
    do_lower_case: bool,
    do_basic_tokenize: bool,
    tokenize_chinese_chars: bool,
    strip_accents: bool | None,
) -> LibrarySegmenter:
    """Make a segmenter of a vocabulary; the settings are those of `BertTokenizer`.

    Args:
        vocabulary: With the unknown token.
        unknown: The unknown token.
        do_lower_case: Whether text is lower-cased.
        do_basic_tokenize: False cuts text at spaces only, and neither cleans nor lower-cases it.
        tokenize_chinese_chars: Whether each Chinese character is a word.
        strip_accents: Whether accents are dropped; None is as `do_lower_case`.
    """
    # The library numbers added tokens from the size of its vocabulary. A line that a later one
    # repeats is therefore kept under a name that no text can spell (cleaning drops NUL).
    ids = {
        token if vocabulary.ids[token] == line else f"\0{line}": line
        for line, token in enumerate(vocabulary.tokens)
    }
    backend = tokenizers.Tokenizer(
        models.WordPiece(ids, unk_token=unknown, max_input_chars_per_word=LONGEST_WORD)
    )
    if do_basic_tokenize:
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            lowercase=do_lower_case,
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        # Separators of data, which Python takes for white space and the library does not.
        others = pre_tokenizers.Split(Regex("[\x1c-\x1f]"), "removed")
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), others])
    return LibrarySegmenter(backend, vocabulary, join_pieces)


def join_pieces(tokens: list[str]) -> str:
    """Join word pieces, and drop the space before punctuation and English contractions."""
    text = str(decoders.WordPiece(prefix="##", cleanup=True).decode(tokens))
    # The decoder closes up within tokens only; quotes stand between two of them.
    for spaced in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
        text = text.replace(spaced, spaced.strip())
    return text

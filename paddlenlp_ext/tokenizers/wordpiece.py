"""WordPiece, the segmentation of BERT, ConvBERT, ELECTRA and ERNIE.

Text is cleaned, lower-cased if the vocabulary is, cut at spaces, punctuation and around Chinese
characters; each word then falls greedily into the longest pieces of the vocabulary
(https://github.com/google-research/bert, tokenization.py). The `tokenizers` library does it.
"""

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import read_object
from paddlenlp_ext.tokenizers.saving import listed_tokens
from paddlenlp_ext.tokenizers.segmentation import LibrarySegmenter, Vocabulary, closed_up

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


def load_converted(path: Path) -> Vocabulary:
    """Read the vocabulary of a tokenizer.json.

    Raises:
        UserError: It is of another kind than BERT's.
    """
    ids = _model(path, read_object(path))["vocab"]
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != [*range(len(tokens))]:
        raise UserError(f"{path}: expected the ids 0 to {len(tokens) - 1}, each of one token")
    return Vocabulary(tokens)


def converted_settings(path: Path) -> dict[str, Any]:
    """Read the settings of a tokenizer.json, as arguments of `BertTokenizer`.

    Raises:
        UserError: It is of another kind than BERT's.
    """
    content = read_object(path)
    settings: dict[str, Any] = {"unk_token": _model(path, content).get("unk_token", "[UNK]")}
    normalizer = content.get("normalizer")
    if normalizer is None:
        settings["do_basic_tokenize"] = False
    elif isinstance(normalizer, dict) and normalizer.get("type") == "BertNormalizer":
        for name, setting in _NORMALIZER.items():
            settings[setting] = normalizer.get(name)
    else:
        raise _another_kind(path)
    added = content.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise _another_kind(path)
    settings["added"] = listed_tokens(path, {str(token.get("id")): token for token in added})
    return settings


_NORMALIZER = {
    "lowercase": "do_lower_case",
    "handle_chinese_chars": "tokenize_chinese_chars",
    "strip_accents": "strip_accents",
}


def _model(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    model = content.get("model")
    if not isinstance(model, dict):
        raise _another_kind(path)
    ids = model.get("vocab")
    ours = (
        model.get("type", "WordPiece") == "WordPiece"  # early files do not have it
        and model.get("continuing_subword_prefix") == "##"
        and model.get("max_input_chars_per_word", LONGEST_WORD) == LONGEST_WORD
        and isinstance(ids, dict)
        and all(type(number) is int for number in ids.values())
    )
    if not ours:
        raise _another_kind(path)
    return model


def _another_kind(path: Path) -> UserError:
    return UserError(
        f"{path}: expected WordPiece with BERT's normalizer; get the vocab.txt of this tokenizer"
    )


def join_pieces(tokens: list[str], clean: bool | None = None) -> str:
    """Join word pieces, and close up punctuation and English contractions unless told not to."""
    text = str(decoders.WordPiece(prefix="##", cleanup=clean is not False).decode(tokens))
    # The decoder closes up within tokens only; quotes stand between two of them.
    return text if clean is False else closed_up(text)

"""Answers of tokenizers to calls of users of PaddleNLP, as JSON.

Run with the python of an environment with PaddleNLP (`… paddlenlp_tokenizer_calls.py FOLDER OUT`)
it writes PaddleNLP's; imported here it collects ours, of `paddlenlp_ext.paddlenlp`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLASSES = ("BertTokenizer", "ErnieMTokenizer", "RemBertTokenizer")
TEXTS = ["the quick brown fox, how are you?", "the dog", "He said that it was quick! The cat ran."]
PAIRS = ["a room", "the cat was born in the sky up above the world so high", "yes"]
SHORT = [
    "a",
    "the cat",
    "yes",
]  # PaddleNLP never ends where a window has no room for the second text
WORDS = ["hello", "world", ",", "dogs"]


def calls(t: Any) -> dict[str, Callable[[], Any]]:
    """List calls by name."""
    three = {"max_length": 19, "truncation": True}
    two = {"max_length": 24, "stride": 7}
    lost = {"max_length": 9, "stride": 2, "truncation": True, "return_overflowing_tokens": True}
    masks = {"return_attention_mask": True, "return_special_tokens_mask": True}
    ids = [5, 6, 7, 8]
    return {
        "one": lambda: t(TEXTS[0]),
        "pair": lambda: t(TEXTS[0], PAIRS[0]),
        "batch": lambda: t(TEXTS),
        "batch of pairs": lambda: t(TEXTS, PAIRS),
        "third argument": lambda: t(TEXTS[0], None, 7),
        "longest first": lambda: t(TEXTS, PAIRS, **three),
        "only first": lambda: t(TEXTS[2], "the dog", max_length=15, truncation="only_first"),
        "only second": lambda: t("the dog", TEXTS[2], max_length=15, truncation="only_second"),
        "length alone": lambda: t(TEXTS, max_length=8),
        "padding": lambda: t(TEXTS, padding=True, **masks),
        "padding to a length": lambda: t(
            TEXTS, padding="max_length", return_position_ids=True, **three
        ),
        "padding to no length": lambda: t(TEXTS, padding="max_length"),
        "padding with a length": lambda: t(TEXTS, padding=True, max_length=8),
        "max_seq_len": lambda: t(TEXTS, max_seq_len=9),
        "pad_to_max_seq_len": lambda: t(TEXTS, max_seq_len=30, pad_to_max_seq_len=True),
        "pad_to_max_seq_len alone": lambda: t(TEXTS, pad_to_max_seq_len=True),
        "lengths": lambda: t(TEXTS, return_length=True),
        "rows": lambda: t(TEXTS, PAIRS, return_dict=False, padding=True),
        "arrays": lambda: t(TEXTS, padding=True, return_tensors="np"),
        "array": lambda: t(TEXTS[0], return_tensors="np"),
        "without special tokens": lambda: t(TEXTS[0], PAIRS[0], add_special_tokens=False),
        "words": lambda: t(WORDS, is_split_into_words=True),
        "batch of words": lambda: t([WORDS, WORDS[:1]], is_split_into_words=True),
        "encode": lambda: t.encode(TEXTS[0], PAIRS[0]),
        "encode ids": lambda: t.encode(ids, [9]),
        "encode tokens": lambda: t.encode(t.tokenize(TEXTS[1])),
        "batch_encode": lambda: t.batch_encode([*zip(TEXTS, PAIRS, strict=True)], max_length=20),
        "prepare_for_model": lambda: t.prepare_for_model(ids, [9, 10], max_length=6),
        "pad": lambda: t.pad([{"input_ids": ids}, {"input_ids": [5]}], return_attention_mask=True),
        "cut off": lambda: t(TEXTS[0], **lost),
        "nothing cut off": lambda: t(TEXTS[1], **{**lost, "max_length": 80}),
        "cut off in a batch": lambda: t(TEXTS, **lost),
        "cut off of a pair": lambda: t("a", TEXTS[2], **{**lost, "truncation": "only_second"}),
        "windows": lambda: t(SHORT, TEXTS, **two),
        "small windows": lambda: t(SHORT, TEXTS, max_length=20, stride=2),
        "one window": lambda: t(SHORT, TEXTS, max_length=90, stride=60, return_length=True),
        "padded windows": lambda: t(SHORT, TEXTS, padding="max_length", **two, **masks),
        "windows as rows": lambda: t(SHORT, TEXTS, return_dict=False, **two),
        "offsets": lambda: t(TEXTS, PAIRS, return_offsets_mapping=True, **three),
        "get_offset_mapping": lambda: t.get_offset_mapping(TEXTS[0]),
        "tokens": lambda: [t.tokenize(text) for text in TEXTS],
        "text": lambda: t.batch_decode(t(TEXTS)["input_ids"], skip_special_tokens=True),
        "text of tokens": lambda: t.convert_tokens_to_string(t.tokenize(TEXTS[0])),
        "special tokens": lambda: t.get_special_tokens_mask(ids, [9]),
        "number of special tokens": lambda: [
            t.num_special_tokens_to_add(pair=pair) for pair in (False, True)
        ],
        "None": lambda: t.convert_tokens_to_ids(None),
        "attributes": lambda: [
            *(t.pad_token_type_id, t.is_fast, t.additional_special_tokens),
            *(list(t.model_input_names), dict(t.resource_files_names)),
        ],
        "size": lambda: [t.vocab_size, len(t)],
        "vocab": lambda: t.vocab.to_indices(["the", "zebra"]) if hasattr(t, "vocab") else None,
    }


def answers(library: Any, folder: Path) -> dict[str, Any]:
    """Make all calls to the tokenizers of a module."""
    found = {}
    for name in CLASSES:
        tokenizer = getattr(library, name).from_pretrained(str(folder / name))
        for call, make in calls(tokenizer).items():
            found[f"{name}: {call}"] = plain(make())
    basic, pieces = library.BasicTokenizer(), {"a": 0, "##b": 1, "[UNK]": 2}
    found["BasicTokenizer"] = [basic.tokenize(text) for text in [*TEXTS, " \tHäLLo!how 博a~b"]]
    found["WordpieceTokenizer"] = library.WordpieceTokenizer(pieces, "[UNK]").tokenize("ab abc abb")
    return found


def plain(value: Any) -> Any:
    """Turn an answer into what JSON can say; columns have no order."""
    if hasattr(value, "keys"):
        return {name: plain(value[name]) for name in sorted(value.keys())}
    if hasattr(value, "tolist"):
        return ["array", value.tolist()]
    return [*map(plain, value)] if isinstance(value, (list, tuple)) else value


if __name__ == "__main__":
    import paddlenlp.transformers as theirs
    from paddlenlp.transformers.bert.tokenizer import BasicTokenizer, WordpieceTokenizer

    theirs.BasicTokenizer, theirs.WordpieceTokenizer = BasicTokenizer, WordpieceTokenizer
    made = answers(theirs, Path(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(made))

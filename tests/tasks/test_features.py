"""Texts become ids, pair by pair, independent of their neighbours."""

import numpy as np
import pytest

from paddlenlp_ext.tasks import features as features_module
from paddlenlp_ext.tasks.features import make_features
from paddlenlp_ext.tasks.task import TextExample
from paddlenlp_ext.tokenizers.bert import BertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg"]  # ids 0 to 11


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return BertTokenizer(tmp_path / "vocab.txt")


def example(text_a, text_b=None, label=0):
    return TextExample(text_a, text_b, label, "train.tsv:2")


def test_a_text_gets_its_special_tokens(tokenizer):
    (one,) = make_features([example("a c x", label=3)], tokenizer, 16)
    assert one.input_ids.tolist() == [2, 5, 7, 1, 3]
    assert one.token_type_ids.tolist() == [0, 0, 0, 0, 0]
    assert one.label == 3
    assert len(one) == 5
    assert one.input_ids.dtype == np.int32


def test_a_pair_is_cut_at_its_longer_text(tokenizer):
    (one,) = make_features([example("a b c d e f", "g a")], tokenizer, 8)
    assert one.input_ids.tolist() == [2, 5, 6, 7, 3, 11, 5, 3]
    assert one.token_type_ids.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    (one,) = make_features([example("g", "a b c d e f", 2.5)], tokenizer, 6)
    assert one.input_ids.tolist() == [2, 11, 3, 5, 6, 3]
    assert one.label == 2.5


def test_an_empty_second_text_is_a_pair_still(tokenizer):
    first, second = make_features([example("a", ""), example("b", "c")], tokenizer, 8)
    assert first.input_ids.tolist() == [2, 5, 3, 3]
    assert second.input_ids.tolist() == [2, 6, 3, 7, 3]


def test_order_stays_and_neighbours_do_not_matter(tokenizer, monkeypatch):
    texts = [" ".join("abcdefg"[: n % 8]) or "x" for n in range(23)]
    alone = [make_features([example(text)], tokenizer, 6)[0].input_ids.tolist() for text in texts]
    monkeypatch.setattr(features_module, "CHUNK", 5)
    together = make_features([example(text) for text in texts], tokenizer, 6)
    assert [one.input_ids.tolist() for one in together] == alone


def test_a_model_without_token_types_gets_none(tokenizer):
    class WithoutTypes:
        def __call__(self, *texts, **options):
            encoded = tokenizer(*texts, **options)
            del encoded["token_type_ids"]
            return encoded

    (one,) = make_features([example("a")], WithoutTypes(), 8)
    assert one.input_ids.tolist() == [2, 5, 3]
    assert one.token_type_ids is None


def test_no_examples_give_no_features(tokenizer):
    assert make_features([], tokenizer, 8) == []

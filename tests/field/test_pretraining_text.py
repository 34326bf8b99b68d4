"""What a corpus holds is in the rows, or is said to be missing; words are masked as words."""

from __future__ import annotations

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import LAYOUT, check_rows, part_beyond
from paddlenlp_ext.pretraining.corpus import read_blocks
from paddlenlp_ext.pretraining.creation import Created, create_shards
from paddlenlp_ext.pretraining.instances import InstanceSettings
from paddlenlp_ext.pretraining.masking import MaskingVocabulary
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from tests.pretraining.words import WORDS, tokenizer

HAN = "今天气很好我们去公园看花一起吃饭学习语言模型数据"
THAI = "ภาษาไทยสวัสดีครับวันนี้อากาศดี"


def rows(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


def create(folder: Path, text: str, words: Tokenizer | None = None, **settings) -> Created:
    (folder / "text.txt").write_text(text, encoding="utf-8", newline="")
    made = InstanceSettings(**{"max_seq_length": 128, "dupe_factor": 2} | settings)
    return create_shards(
        [folder / "text.txt"], words or tokenizer(folder), folder / "train.hdf5", made
    )


def lines(documents: int, count: int, length: int, seed: int = 1) -> str:
    """Documents of `count` lines of `length` words."""
    drawn = random.Random(seed)
    return "\n\n".join(
        "\n".join(" ".join(drawn.choices(WORDS, k=length)) for _ in range(count))
        for _ in range(documents)
    )


@pytest.mark.parametrize(("length", "max_seq_length"), [(600, 128), (5000, 64), (131, 128)])
@pytest.mark.parametrize("pairs", [True, False])
def test_lines_longer_than_a_row_become_several_passages(
    tmp_path, caplog, length, max_seq_length, pairs
):
    text = lines(4, 1, length)
    created = create(tmp_path, text, max_seq_length=max_seq_length, next_sentence=pairs)
    assert created.corpus_tokens == 4 * length
    assert created.used_tokens > 0.9 * created.corpus_tokens
    if pairs and length > 600:  # enough of them to tell
        assert 0.35 < created.random_next / created.instances < 0.65
    assert "in no row" not in caplog.text


def test_lines_that_fit_are_made_into_the_same_pairs_wherever_they_stand(tmp_path):
    """Short lines are used whole: all of them with words of twenty tokens."""
    created = create(tmp_path, lines(6, 40, 20), dupe_factor=5)
    assert created.used_tokens == created.corpus_tokens


def test_what_is_in_no_row_is_said(tmp_path, caplog):
    created = create(tmp_path, lines(9, 12, 100), dupe_factor=1)
    unused = 1 - created.used_tokens / created.corpus_tokens
    assert unused > 0.1
    assert f"{unused:.0%} of the 10,800 tokens are in no row" in caplog.text
    tokens = set(rows(tmp_path / "train.hdf5")["input_ids"].ravel())
    assert len(tokens) > 100


def test_every_used_token_is_counted_once(tmp_path):
    """Words that occur once each, so that the rows themselves say which are used."""
    parts = [" ".join(WORDS[at : at + 30]) for at in range(0, 300, 30)]
    text = "\n".join(parts[:5]) + "\n\n" + "\n".join(parts[5:])
    created = create(tmp_path, text, dupe_factor=1, max_seq_length=40, masked_lm_prob=0.15)
    found = rows(tmp_path / "train.hdf5")
    ids, places = found["input_ids"], found["masked_lm_positions"]
    row, column = np.nonzero(places)
    ids[row, places[row, column]] = found["masked_lm_ids"][row, column]
    assert created.corpus_tokens == 300
    assert created.used_tokens == len(set(ids[ids >= 5]))


@pytest.mark.parametrize("documents", [40, 300])
def test_second_texts_that_are_all_random_are_said(tmp_path, caplog, documents):
    create(tmp_path, lines(documents, 1, 30))
    assert "100% of the second texts are random" in caplog.text


def test_an_ordinary_corpus_is_not_warned_of(tmp_path, caplog):
    create(tmp_path, lines(20, 30, 12), dupe_factor=3)
    assert caplog.text == ""


def test_masks_that_are_cut_off_are_said(tmp_path, caplog):
    create(tmp_path, lines(9, 30, 12), max_predictions_per_seq=4)
    assert "of the tokens are masked, not 15.0%: `max_predictions_per_seq` 4" in caplog.text


def test_masked_tokens_that_a_run_does_not_predict_are_counted(tmp_path):
    create(tmp_path, lines(9, 30, 12))
    shards = ShardSet([tmp_path / "train.hdf5"], LAYOUT, check_rows(365, 2))
    counts = (rows(tmp_path / "train.hdf5")["masked_lm_positions"] > 0).sum(1)
    assert part_beyond(shards, 20) == part_beyond(shards, int(counts.max())) == 0
    for most in (1, 7, 15):
        beyond = np.maximum(counts - most, 0).sum() / counts.sum()
        assert part_beyond(shards, most) == pytest.approx(beyond)


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", "\r\r\n"])
def test_lines_end_as_their_writer_ended_them(tmp_path, end):
    documents = [["one", "two"], ["three"], ["four", "five", "six"]]
    text = (end + end).join(end.join(document) for document in documents)
    for number, tail in enumerate(("", end)):
        path = tmp_path / f"{number}.txt"
        path.write_bytes((text + tail).encode())
        blocks = list(read_blocks([path], 1 << 20))
        assert [one for block in blocks for one in block.documents] == documents
        assert sum(block.size for block in blocks) == path.stat().st_size


def test_ends_may_be_mixed_and_fall_anywhere(tmp_path, monkeypatch):
    """Blocks of few bytes are read, so that every end is once cut in two."""
    content = b"a\r\nbc\rd\n\re\r\r\nf\n\n\ng\r\rh\ri"
    expected = [["a", "bc", "d"], ["e", "f"], ["g"], ["h", "i"]]
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    for size in range(1, len(content) + 1):
        monkeypatch.setattr("paddlenlp_ext.pretraining.corpus.READ", size)
        (block,) = read_blocks([path], 1 << 20)
        assert block.documents == expected


def test_bad_lines_of_cr_files_are_named_by_their_numbers(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"one\r\rtwo\r\xff\r")
    with pytest.raises(DataError, match=r"text\.txt:4: is not UTF-8"):
        list(read_blocks([tmp_path / "text.txt"], 1 << 20))


def test_a_folder_of_cr_files_is_used_whole(tmp_path):
    text = lines(5, 30, 12)
    lf = create(tmp_path, text)
    expected = rows(tmp_path / "train.hdf5")
    assert create(tmp_path, text.replace("\n", "\r")) == lf
    for name, values in rows(tmp_path / "train.hdf5").items():
        np.testing.assert_array_equal(values, expected[name])


def chinese(folder: Path) -> BertTokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*sorted(set(HAN + THAI)), *(f"##{one}" for one in sorted(set(THAI))), "，", "。"]
    (folder / "vocab.txt").write_text("\n".join([*special, *pieces, *WORDS]), encoding="utf-8")
    return BertTokenizer(folder / "vocab.txt")


def unparted(letters: str, between: str = "", seed: int = 2) -> str:
    """Documents of lines of words of one to three letters."""
    drawn = random.Random(seed)

    def word() -> str:
        return "".join(drawn.choices(letters, k=drawn.randint(1, 3)))

    return "\n\n".join(
        "\n".join(between.join(word() for _ in range(12)) for _ in range(20)) for _ in range(6)
    )


@pytest.mark.parametrize("letters", [HAN, "カタカナひらがな" + HAN, THAI])
def test_whole_words_of_text_without_spaces_are_refused(tmp_path, letters):
    with pytest.raises(DataError, match=r"`whole_word_masking`: 100% of the text .*jieba"):
        create(tmp_path, unparted(letters), chinese(tmp_path), whole_word_masking=True)
    assert not list(tmp_path.glob("*.hdf5"))
    create(tmp_path, unparted(letters), chinese(tmp_path))  # tokens can be masked


@pytest.mark.parametrize("pairs", [True, False])
def test_whole_words_of_parted_chinese_are_masked_whole(tmp_path, pairs):
    """The ids are those of the text without spaces; the spaces say what is masked together."""
    words = chinese(tmp_path)
    drawn = random.Random(3)
    known = [HAN[at : at + 2] for at in range(0, 24, 2)]  # a character says which half it is
    text = "\n\n".join(
        "\n".join(" ".join(drawn.choices(known, k=9)) + " ，" for _ in range(20)) for _ in range(9)
    )
    assert words(text)["input_ids"] == words(text.replace(" ", ""))["input_ids"]
    create(tmp_path, text, words, whole_word_masking=True, next_sentence=pairs)
    found = rows(tmp_path / "train.hdf5")
    ids, places = found["input_ids"], found["masked_lm_positions"]
    row, column = np.nonzero(places)
    ids[row, places[row, column]] = found["masked_lm_ids"][row, column]
    hidden = np.zeros(ids.shape, bool)
    hidden[row, places[row, column]] = True
    tokens = np.array(words.convert_ids_to_tokens(list(range(len(words)))))[ids]
    is_word = np.isin(np.char.add(tokens[:, :-1], tokens[:, 1:]), known)
    np.testing.assert_array_equal(hidden[:, :-1][is_word], hidden[:, 1:][is_word])
    assert hidden[:, :-1][is_word].sum() > 300
    assert not hidden.all(1).any()


def test_a_little_text_without_spaces_is_said(tmp_path, caplog):
    text = f"{unparted(HAN)[:700]}\n\n{lines(6, 20, 12)}"
    create(tmp_path, text, chinese(tmp_path), whole_word_masking=True)
    assert "of the text stand in scripts without spaces" in caplog.text


@pytest.mark.parametrize("family", ["rembert", "ernie_m", "xlm_r"])
def test_words_of_sentencepiece_begin_where_its_pieces_say(tmp_path, family):
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from tests.scripts import multilingual

    tokens = AutoTokenizer.from_pretrained(getattr(multilingual, family)(tmp_path))
    vocabulary = MaskingVocabulary.of(tokens)
    pieces = tokens.convert_ids_to_tokens(list(range(len(tokens))))
    special = set(tokens.all_special_ids)
    expected = [n not in special and not one.startswith("▁") for n, one in enumerate(pieces)]
    np.testing.assert_array_equal(vocabulary.continues, expected)
    assert vocabulary.continues.any()
    assert not vocabulary.continues.all()

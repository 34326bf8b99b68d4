"""The models of the comparison differ in what is dropped alone; how runs are told."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from benchmarks import rembert_output_size as experiment
from paddlenlp_ext.models.rembert import RemBertConfig, RemBertForMaskedLM
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from tests.scripts.multilingual import rembert


def test_the_vocabulary_has_the_pieces_of_the_texts(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    rembert(tmp_path / "model")
    text = tmp_path / "en.txt"
    text.write_text("that is what he said\n")
    tags = tmp_path / "en_ewt-train.conllu"
    tags.write_text("# text = where is the room\n1\twhere\t_\tADV\n", encoding="utf-8")
    model = tmp_path / "model/sentencepiece.model"
    once = "--languages", "de", "--fewest", "1"
    words = ["--text", str(tmp_path), "--tags", str(tmp_path), "--sentencepiece", str(model)]
    args = experiment.parse_args([str(tmp_path / "out"), *words, *once])
    experiment.write_shape(args, [text], tmp_path / "out/shape")
    whole, kept = (AutoTokenizer.from_pretrained(tmp_path / one) for one in ("model", "out/shape"))
    for line in ("that is what he said", "where is the room"):
        assert kept.tokenize(line) == whole.tokenize(line)
    assert 5 < len(kept) < len(whole)
    assert kept.all_special_tokens == whole.all_special_tokens
    more = experiment.parse_args([str(tmp_path / "often"), *words, *once[:2], "--fewest", "2"])
    experiment.write_shape(more, [text], tmp_path / "often/shape")
    often = AutoTokenizer.from_pretrained(tmp_path / "often/shape")
    assert len(often) < len(kept)
    assert often.all_special_tokens == whole.all_special_tokens
    config = RemBertConfig.from_pretrained(tmp_path / "out/shape")
    assert config.vocab_size == len(kept) == len(SentencePieceProcessor(
        model_file=str(tmp_path / "out/shape/sentencepiece.model")
    ))  # fmt: skip


def test_runs_become_a_table(tmp_path: Path) -> None:
    for seed, perplexity in ((1, 10.0), (2, 40.0)):
        run = experiment.run_folder(tmp_path, 256, seed)
        run.mkdir(parents=True)
        figures = {
            "perplexity": {"en-fr": perplexity, "en-de": 4 * perplexity},
            "masked": {"en-fr": 0.25, "en-de": 0.35},
            "tags": {"en": 80.0, "de": 40.0 + seed, "hi": 30.0},
            "pretrained": 5_300_000,
            "fine_tuned": 3_210_000,
            "steps": 8,
        }
        (run / "measured.json").write_text(json.dumps(figures))
    *_, row = experiment.table(tmp_path, (64, 256), (1, 2, 3)).splitlines()
    assert row == (
        "| 256 | 8 | 2 | 5.30 M | 3.21 M | 50.0 ± 42.4 | 30.0 ± 0.0 | 80.0 ± 0.0 | 35.8 ± 0.4 |"
    )


def test_figures_are_read_from_what_runs_write(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    rows = [{"step": 4, "loss": 1.0}]
    rows += [
        {"step": step, "split": "de", "metrics": {"acc": step / 10, "perplexity": 9.0}}
        for step in (4, 8)
    ]
    history.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert experiment.held_out(history, "acc") == {"de": 0.8}
    results = tmp_path / "results.jsonl"
    line = {"signature": "tagger|tokens/upos|validation_de|acc|len128", "metrics": {"acc": 0.5}}
    results.write_text(json.dumps(line) + "\n")
    assert experiment.tag_accuracies(results) == {"de": 50.0}
    sizes = {"vocab_size": 31, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    counts = []
    for width in (3, 7):
        model = RemBertForMaskedLM(RemBertConfig(output_embedding_size=width, **sizes))
        model.save_pretrained(tmp_path / "whole")
        model.backbone.save_pretrained(tmp_path / "left")
        counts.append([experiment.parameters(tmp_path / name) for name in ("whole", "left")])
        own = sum(math.prod(one.shape) for one in model.parameters())
        assert counts[-1][0] == pytest.approx(own, abs=600)  # PaddleNLP's buffer of positions
    (first, left), (second, same) = counts
    assert left == same
    assert second - first == 4 * (31 + 8 + 3)  # the table, the dense layer, its bias and LayerNorm

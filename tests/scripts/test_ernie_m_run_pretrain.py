"""Cross-lingual pretraining with a tiny model: all objectives, resuming, processes, refusals."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.pretraining.language_corpora import open_corpora
from paddlenlp_ext.pretraining.language_words import LanguageWords
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.training.vocabulary_trimming import words_of
from paddlenlp_ext.weights.files import read_weights
from tests.docs.test_readmes import script_of
from tests.scripts.multilingual import launch
from tests.scripts.multilingual_pretraining_run import (
    LANGUAGES,
    SCRIPTS,
    prepare,
    pretraining,
)
from tests.scripts.pretraining_run import losses
from tests.scripts.refusals import refused

SCRIPT = SCRIPTS["ernie_m"]
STEP = re.compile(
    r"global step (\d+)/6, loss: (\d+\.\d{6}), (\w+): (\d+\.\d{6}), lr: \d\.\d{10}, "
    r"speed: \d+\.\d\d step/s"
)
EVALUATION = re.compile(r"\[(.+)\] eval loss: \d+\.\d{6}, acc: [01]\.\d{6}, perplexity: \d+\.\d{6}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and shards of three languages."""
    return prepare(tmp_path_factory.mktemp("cross_lingual"), "ernie_m")


def main(folder: Path, output: Path, **changes: Any) -> dict[str, float]:
    return script_of(SCRIPT).main(pretraining(folder, output, **{"max_steps": 6} | changes))


def test_all_objectives_are_trained_and_every_language_is_evaluated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    weights = {"objective_weights": "1,1,1,2", "whole_word_mask": True, "keep_checkpoints": 1}
    main(folder, tmp_path / "run", save_steps=6, **weights)
    lines = capsys.readouterr().out.splitlines()
    steps = [found for line in lines if (found := STEP.fullmatch(line))]
    assert [int(step[1]) for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {step[3] for step in steps} == {"mmlm", "tlm", "camlm", "btmlm"}
    assert all(step[2] == step[4] for step in steps)
    splits = [found[1] for line in lines if (found := EVALUATION.fullmatch(line))]
    assert splits == ["de", "en", "zh", "en-de", "en-zh"]
    saved = read_weights(tmp_path / "run/model_6")
    assert any("lm_head" in name or "predictions" in name for name in saved)
    config = json.loads((tmp_path / "run/model_6/config.json").read_text())
    assert config["model_type"] == "ernie_m"
    # What was pretrained is gone on from, without --from_scratch.
    changes = {"model_name_or_path": tmp_path / "run/model_6", "from_scratch": None}
    main(folder, tmp_path / "on", objectives="camlm", max_steps=1, save_steps=1, **changes)
    assert losses(tmp_path / "on")[0] < losses(tmp_path / "run")[0] * 1.2


def test_words_and_pairs_of_languages_are_those_of_the_text(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    corpora = open_corpora(folder / "shards", tokenizer, len(tokenizer), 64)
    assert corpora.languages == [*LANGUAGES]
    assert corpora.sentences is not None
    assert corpora.pairs is not None
    for sets in ([corpora.sentences], [corpora.pairs]):
        found = LanguageWords.read(sets, len(LANGUAGES), len(tokenizer))
        for number, language in enumerate(LANGUAGES):
            text = (folder / f"text/train/{language}.txt").read_text(encoding="utf-8")
            rows = tokenizer(text.splitlines())["input_ids"]
            expected = {one for row in rows for one in row}
            ids = {*np.flatnonzero(found.ids[number]).tolist()}
            assert ids <= expected
            assert len(ids) > 0.7 * len(expected)  # long pairs are cut
    assert found.partners.tolist() == [
        [False, True, False], [True, False, True], [False, True, False],
    ]  # fmt: skip


def test_a_run_continues_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    main(folder, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for name in ("model_6", "model_4"):
        shutil.rmtree(tmp_path / "cut" / name)
    position = json.loads((tmp_path / "cut/model_2/manifest.json").read_text())["position"]
    assert len(position["mixture"]) == 2
    main(folder, tmp_path / "cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    for name in ("model_state.pdparams", "optimizer.safetensors"):
        one, other = (tmp_path / run / "model_6" / name for run in ("whole", "cut"))
        assert one.read_bytes() == other.read_bytes()


def test_a_trimmed_table_is_trained_where_the_shards_have_words(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """All objectives get along with fewer scores; other words stay as they were."""
    changes = {"from_scratch": None, "trim_vocab": True, "save_steps": 6, "weight_decay": 0}
    main(folder, tmp_path / "run", **changes)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    corpora = open_corpora(folder / "shards", tokenizer, len(tokenizer), 64, eval_limit=5)
    held_out = [*corpora.held_out_sentences.values(), *corpora.held_out_pairs.values()]
    sets = [one for one in (corpora.sentences, corpora.pairs) if one is not None]
    words = words_of([*sets, *held_out], tokenizer)
    assert f"trim_vocab: {len(words)} of {len(tokenizer)} word emb" in capsys.readouterr().out
    before, after = (
        next(array for name, array in read_weights(one).items() if "word_embeddings" in name)
        for one in (folder / "model", tmp_path / "run/model_6")
    )
    is_used = np.zeros(len(before), bool)
    is_used[words] = True
    assert 0 < is_used.sum() < len(before)
    np.testing.assert_array_equal(after[~is_used], before[~is_used])
    assert (after[is_used] != before[is_used]).any(1).mean() > 0.9


def test_two_processes_compute_what_one_does(folder: Path, tmp_path: Path) -> None:
    """Of every objective: the words that the model makes up are the same ones, too."""
    changes = {"max_steps": 6, "save_steps": 6, "pseudo_tokens": "argmax"}
    for processes in (1, 2):
        given = pretraining(folder, tmp_path / str(processes), **changes, batch_size=8 // processes)
        code, _, errors = launch(SCRIPT, given, processes)
        assert code == 0, errors
    np.testing.assert_allclose(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-4)
    one, two = (read_weights(tmp_path / name / "model_6") for name in ("1", "2"))
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, atol=2e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": "mmlm,clm"}, "expected some of mmlm, tlm, camlm, btmlm, not 'clm'"),
        ({"objectives": "tlm,tlm"}, "'tlm,tlm' names an objective twice"),
        ({"objective_weights": "1,2"}, "--objective_weights: expected 4 numbers, one for each"),
        ({"objective_weights": "1,1,0,1"}, "--objective_weights: "),
    ],
)
def test_what_cannot_be_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended:
        script_of(SCRIPT).parse_args(pretraining(tmp_path, tmp_path / "run", **changes))
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_an_objective_without_its_text_is_refused(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "shards"
    alone.mkdir()
    for path in (folder / "shards").iterdir():
        if "-" not in path.name:
            shutil.copyfile(path, alone / path.name)
    with refused("--objectives tlm: --input_dir .*shards has no parallel text"):
        main(folder, tmp_path / "run", input_dir=alone)
    with refused("--input_dir .*nowhere"):
        main(folder, tmp_path / "run", input_dir=tmp_path / "nowhere")

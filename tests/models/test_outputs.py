"""Outputs against transformers' `ModelOutput`, whose behaviour stands here as facts of 4.57.6."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
from paddlenlp_ext.models.outputs import BaseModelOutput, HeadOutput
from tests.tiny import FAMILY_SIZES, SIZES, arrays, tensors

LOGITS, STATES = paddle.ones([3, 2]), (paddle.zeros([3, 7, 24]),)


@pytest.fixture
def output() -> HeadOutput:
    return HeadOutput(None, LOGITS, STATES)


def test_what_is_there_has_a_name_and_a_number(output: HeadOutput) -> None:
    assert list(output) == list(output.keys()) == ["logits", "hidden_states"]
    assert len(output) == 2
    assert "logits" in output
    assert "loss" not in output
    assert output.loss is None
    assert output.logits is output["logits"] is output[0] is LOGITS
    assert output[:2] == output.to_tuple() == (LOGITS, STATES)
    assert output[-1] is STATES
    assert dict(output.items()) == {"logits": LOGITS, "hidden_states": STATES}
    with pytest.raises(KeyError):
        output["loss"]
    with pytest.raises(IndexError):
        output[2]


def test_to_unpack_gives_names(output: HeadOutput) -> None:
    first, second = output
    assert (first, second) == ("logits", "hidden_states")


def test_attributes_and_entries_are_the_same(output: HeadOutput) -> None:
    output.logits = STATES
    assert output["logits"] is STATES
    output["hidden_states"] = LOGITS
    assert output.hidden_states is LOGITS
    output.loss = LOGITS  # was absent: then as in transformers an attribute alone
    assert "loss" not in output


def test_copies_are_whole(output: HeadOutput) -> None:
    for other in (copy.copy(output), pickle.loads(pickle.dumps(HeadOutput(None, "a", ("b",))))):
        assert type(other) is HeadOutput
        assert list(other) == list(output)
        assert other.loss is None
        assert other.hidden_states == other["hidden_states"]


def test_paddle_puts_one_together(output: HeadOutput) -> None:
    doubled = paddle.utils.map_structure(lambda tensor: tensor * 2, output)
    assert type(doubled) is HeadOutput
    assert doubled.loss is None
    np.testing.assert_array_equal(doubled.logits.numpy(), 2 * LOGITS.numpy())
    np.testing.assert_array_equal(doubled["hidden_states"][0].numpy(), 0)
    assert type(BaseModelOutput({"last_hidden_state": LOGITS})) is BaseModelOutput


def model() -> BertForSequenceClassification:
    paddle.seed(2)
    model = BertForSequenceClassification(BertConfig(**SIZES, **FAMILY_SIZES["bert"]))
    model.eval()
    return model


class Whole(paddle.nn.Layer):
    """A model with positions and a mask given, as a program has to have them."""

    def __init__(self, return_dict: bool | None = None) -> None:
        super().__init__()
        self.model = model()
        self.return_dict = return_dict

    def forward(self, input_ids: paddle.Tensor, mask: paddle.Tensor) -> Any:
        return self.model(
            input_ids,
            position_ids=paddle.arange(7) + input_ids * 0,
            attention_mask=mask,
            output_hidden_states=True,
            return_dict=self.return_dict,
        )


@pytest.mark.skipif(paddle.__version__ < "3", reason="it cannot translate annotated names")
def test_a_program_returns_one() -> None:
    layer, batch = Whole(), tensors(arrays())
    inputs = (batch["input_ids"], batch["attention_mask"])
    expected = layer(*inputs)
    got = paddle.jit.to_static(layer, full_graph=True)(*inputs)
    assert type(got) is HeadOutput
    assert list(got) == list(expected)
    np.testing.assert_allclose(got.logits.numpy(), expected.logits.numpy(), atol=1e-6)
    assert len(got.hidden_states) == len(expected.hidden_states)


@pytest.mark.skipif(paddle.__version__ < "3", reason="it cannot translate annotated names")
def test_a_program_returns_values_alone(tmp_path: Path) -> None:
    layer, batch = Whole(return_dict=False), tensors(arrays())
    inputs = (batch["input_ids"], batch["attention_mask"])
    expected = layer(*inputs)
    specs = [paddle.static.InputSpec([None, 7], "int64") for _ in inputs]
    program = paddle.jit.to_static(layer, input_spec=specs, full_graph=True)
    paddle.jit.save(program, str(tmp_path / "model"))
    saved = paddle.jit.load(str(tmp_path / "model"))(*inputs)
    for got in (program(*inputs), (saved[0], saved[1:])):
        np.testing.assert_allclose(got[0].numpy(), expected[0].numpy(), atol=1e-6)
        assert len(got[1]) == len(expected[1])


def test_a_parallel_model_returns_one() -> None:
    plain, batch = model(), tensors(arrays())
    got = paddle.DataParallel(plain)(**batch)
    assert type(got) is HeadOutput
    np.testing.assert_array_equal(got.logits.numpy(), plain(**batch).logits.numpy())


@pytest.mark.parity
def test_transformers_does_the_same() -> None:
    from transformers.modeling_outputs import SequenceClassifierOutput

    ours = HeadOutput(None, "logits", ("states",))
    theirs = SequenceClassifierOutput(None, "logits", ("states",))
    for output in (ours, theirs):
        output.hidden_states = ("other",)
    asks = [
        list,
        len,
        tuple,
        lambda output: output[0],
        lambda output: output[:2],
        lambda output: output[-1],
        lambda output: output["logits"],
        lambda output: ("loss" in output, "logits" in output),
        lambda output: output.to_tuple(),
        lambda output: list(output.items()),
        lambda output: output.loss,
        lambda output: (lambda a, b: (a, b))(*output),
    ]
    for ask in asks:
        assert ask(ours) == ask(theirs)

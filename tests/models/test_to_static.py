"""`paddle.jit.to_static` of every head of every family computes and trains what the model does.

By both of Paddle's translators: SOT, which is the default, and that of whole graphs; in evaluation
and in training, with labels and without. What stands at padding in training, nobody reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.bert import BertForPreTraining
from paddlenlp_ext.models.convbert import ConvBertDiscriminator, ConvBertForPreTraining
from paddlenlp_ext.models.electra import ElectraDiscriminator
from paddlenlp_ext.models.ernie import UIE, ErnieForPreTraining
from paddlenlp_ext.models.ernie_m import UIEM
from paddlenlp_ext.training.optimization import adamw
from tests.models.test_contract import CLASSES, batch_for, build, labels_for
from tests.tiny import arrays, tensors

pytestmark = pytest.mark.skipif(paddle.__version__ < "3", reason="its SOT knows less of Python")

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
MORE = [
    *(("bert", BertForPreTraining), ("ernie", ErnieForPreTraining), ("ernie", UIE)),
    *(("ernie_m", UIEM), ("electra", ElectraDiscriminator), ("convbert", ConvBertDiscriminator)),
]
EVERY = [(family, model_class(family, task)) for family, task in CLASSES] + MORE
MODES = [(training, full_graph) for training in (False, True) for full_graph in (False, True)]
# Making programs takes seconds: of these classes one mode is tried by the fast tests, of every
# other class by `make parity`, and the other modes by `make parity-full`.
SOME = {"BertForQuestionAnswering", "ConvBertForMultipleChoice", "XLMRobertaForMaskedLM"}
CELLS = [
    pytest.param(
        *(family, cls, training, full_graph),
        marks=pytest.mark.slow if number % len(MODES) != place
        else () if cls.__name__ in SOME
        else pytest.mark.parity,
        id=f"{cls.__name__}-{'training' if training else 'evaluation'}"
        f"-{'full_graph' if full_graph else 'default'}",
    )
    for number, (family, cls) in enumerate(EVERY)
    for place, (training, full_graph) in enumerate(MODES)
]  # fmt: skip
modes = pytest.mark.parametrize("full_graph", [False, True], ids=["default", "full_graph"])


def of(family: str, cls: type[Model], **changes: Any) -> Model:
    config = build(family, "Model", num_hidden_layers=1, **(NO_DROPOUT | changes)).config
    of_heads = ("classifier_dropout_prob", "summary_last_dropout")
    config = config.replace(**{name: 0.0 for name in of_heads if hasattr(config, name)})
    paddle.seed(4)
    return cls(config)


def inputs_for(model: Model, **options: Any) -> dict[str, Any]:
    """A batch, without labels."""
    choices = type(model).__name__.endswith("MultipleChoice")
    return tensors(batch_for(model, "ForMultipleChoice" if choices else "", **options))


def targets_for(model: Model) -> dict[str, Any]:
    """What a class takes to return a loss."""
    name = type(model).__name__
    tasks = [task for _, task in CLASSES if task != "Model" and name.endswith(task)]
    words = paddle.to_tensor(np.where(arrays()["attention_mask"] == 1, 9, -100))
    if name.endswith("Model"):
        return {}
    if name.endswith("ForPreTraining"):
        return {"labels": words, "next_sentence_label": paddle.to_tensor([1, 0, 1])}
    if name.startswith("UIE"):
        ends = (words == 9).astype("float32")
        return {"start_positions": ends, "end_positions": 1 - ends}
    return {"labels": labels_for(model, tasks[0] if tasks else "")}


def compute(model: Model, batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a call returns, by name, and in training the gradients."""
    model.clear_gradients()
    output = model(**batch)
    if model.training:
        loss = output.loss if "loss" in output else sum((one**2).mean() for one in output.values())
        loss.backward()
    grads = {
        name: parameter.grad.numpy()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and float(parameter.grad.abs().max())
    }
    return output, grads


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the programs that SOT runs."""
    from paddle.jit.sot.symbolic.compile_cache import FallbackWrapper

    ran: list[str] = []
    call = FallbackWrapper.__call__

    def looking(self: Any, *inputs: Any, **named: Any) -> Any:
        ran.append(self.SIR.name)
        return call(self, *inputs, **named)

    monkeypatch.setattr(FallbackWrapper, "__call__", looking)
    return ran


def translations() -> int:
    from paddle.jit.sot.opcode_translator.executor.executor_cache import OpcodeExecutorCache

    return OpcodeExecutorCache().translate_count


@pytest.mark.parametrize(("family", "cls", "training", "full_graph"), CELLS)
def test_a_program_computes_what_the_model_does(family, cls, training, full_graph, programs):
    model = of(family, cls)
    model.train() if training else model.eval()
    batch, targets = inputs_for(model), targets_for(model)
    calls = [batch | targets] if training else [batch, batch | targets] if targets else [batch]
    expected = [compute(model, given) for given in calls]
    paddle.jit.to_static(model, full_graph=full_graph)
    real = batch["attention_mask"].numpy() == 1
    for given, (output, gradients) in zip(calls, expected, strict=True):
        found, also = compute(model, given)
        assert type(found) is type(output)
        assert list(found) == list(output)
        for name, value in output.items():
            one, other = found[name].numpy(), value.numpy()
            if training and targets and one.shape[:2] == real.shape:
                one, other = one[real], other[real]
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5, err_msg=name)
        assert also.keys() == gradients.keys()
        for name, value in gradients.items():
            np.testing.assert_allclose(also[name], value, atol=1e-5, rtol=1e-4, err_msg=name)
    if not full_graph:  # the bare model is one program, the head one more at most; both stay
        others = {name: value.flip([0]) for name, value in calls[-1].items()}
        compute(model, others)  # after many models SOT may translate once more
        before, ran = translations(), len(programs)
        compute(model, others)
        assert translations() == before
        assert len(programs) - ran in (1, 2)


@pytest.mark.parametrize(
    ("family", "cls"),
    [
        pytest.param(*one, marks=() if one[1].__name__ in SOME else pytest.mark.parity)
        for one in EVERY
        if not one[1].__name__.endswith("Model") and (one[0] == "bert" or one[1].__name__ in SOME)
    ],
)
def test_a_model_learns_after_it_was_evaluated(family, cls):
    model = of(family, cls)
    batch = inputs_for(model) | targets_for(model)
    model.train()
    _, expected = compute(model, batch)
    paddle.jit.to_static(model)
    model.eval()
    compute(model, batch)
    model.train()
    _, gradients = compute(model, batch)
    assert gradients.keys() == expected.keys()


@pytest.mark.parity
@pytest.mark.parametrize("family", ["electra", "convbert"])
def test_two_models_at_once_learn_by_programs(family):
    """The drawn words, and so the discriminator's loss, are others; the generator's loss is not.

    How many tokens are masked, a whole graph cannot know.
    """
    cls = ConvBertForPreTraining if family == "convbert" else model_class(family, "ForPreTraining")
    config = of(family, cls).config
    paddle.seed(4)
    model = cls(config)
    batch = inputs_for(model)
    mask = batch["attention_mask"].numpy() == 1
    batch["generator_labels"] = paddle.to_tensor(np.where(mask, 9, -100))
    expected = model(**batch)
    paddle.jit.to_static(model)
    found = model(**batch)
    np.testing.assert_allclose(found.generator_loss, expected.generator_loss, atol=1e-5)
    found.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def losses(full_graph: bool | None, dropout: float, steps: int = 20) -> list[float]:
    """Train a BERT on batches of several lengths; None computes at once."""
    rates = dict.fromkeys(NO_DROPOUT, dropout)
    model = of("bert", model_class("bert", "ForSequenceClassification"), **rates)
    if full_graph is not None:
        paddle.jit.to_static(model, full_graph=full_graph)
    model.train()
    optimizer, found = adamw(model, 1e-3), []
    for step in range(steps):
        paddle.seed(step)
        batch = inputs_for(model, seed=step, length=(7, 11)[step % 2])
        loss = model(**batch, labels=paddle.to_tensor([1, 0, 1])).loss
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        found.append(loss.item())
    return found


@pytest.mark.parametrize(
    "full_graph",
    [False, pytest.param(True, marks=pytest.mark.parity)],
    ids=["default", "full_graph"],
)
def test_a_program_trains_as_the_model_does(full_graph):
    expected = losses(None, 0.0)
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(losses(full_graph, 0.0), expected, atol=1e-6, rtol=0)


@pytest.mark.parity
@modes
def test_dropout_of_a_program_is_drawn_from_the_seed(full_graph):
    """Other numbers than a CPU's layers drop, but the same again."""
    first = losses(full_graph, 0.3, steps=4)
    assert losses(full_graph, 0.3, steps=4) == first
    assert losses(full_graph, 0.0, steps=4) != first


def test_models_with_other_vocabularies_in_one_process() -> None:
    """SOT takes a size that it meets with several values for one that it does not know."""
    for size in (61, 67, 73):
        model = of("bert", model_class("bert", "ForSequenceClassification"), vocab_size=size)
        model.train()
        batch = inputs_for(model) | targets_for(model)
        expected, gradients = compute(model, batch)
        paddle.jit.to_static(model)
        found, others = compute(model, batch)
        np.testing.assert_allclose(float(found.loss), float(expected.loss), rtol=1e-5)
        assert others.keys() == gradients.keys()

"""Models of the room answer as PaddleNLP's, with the numbers of the library."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.paddlenlp import transformers
from paddlenlp_ext.paddlenlp.transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForPretraining,
    BertForSequenceClassification,
    BertModel,
    BertPretrainedModel,
    BertPretrainingCriterion,
    ConvBertPretrainingCriterion,
    ElectraPretrainingCriterion,
    ErniePretrainingCriterion,
)
from tests.tiny import CHOICES, FAMILY_SIZES, SIZES, B, L, V, arrays, tensors

FAMILIES = {
    "bert": "Bert",
    "convbert": "ConvBert",
    "electra": "Electra",
    "ernie": "Ernie",
    "ernie_m": "ErnieM",
    "rembert": "RemBert",
}
HEADS = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForMaskedLM",
)
CLASSES = [
    (family, head)
    for family, prefix in FAMILIES.items()
    for head in ("Model", *HEADS)
    if prefix + head in transformers.__all__
]
each_class = pytest.mark.parametrize(("family", "head"), CLASSES)
each_family = pytest.mark.parametrize("family", FAMILIES)


def config_of(family: str, **changes: Any) -> Any:
    config_class = getattr(transformers, FAMILIES[family] + "Config")
    return config_class(**SIZES | FAMILY_SIZES[family], **changes)


def build(family: str, head: str, **changes: Any) -> Any:
    paddle.seed(1)
    return getattr(transformers, FAMILIES[family] + head)(config_of(family, **changes))


def batch_of(model: Any, head: str = "Model") -> dict[str, Any]:
    batch = arrays(pad=model.config.pad_token_id)
    if "token_type_ids" not in inspect.signature(model.forward).parameters:
        del batch["token_type_ids"]
    if head == "ForMultipleChoice":
        batch = {name: np.stack([rows] * CHOICES, 1) for name, rows in batch.items()}
    return tensors(batch)


def same(one: Any, other: Any) -> bool:
    return bool(paddle.equal_all(one, other))


@each_class
def test_answers_are_bare_and_the_librarys(family: str, head: str, tmp_path: Path) -> None:
    model = build(family, head, num_classes=3)
    model.eval()
    batch = batch_of(model, head)
    bare = model(**batch)
    named = model(**batch, return_dict=True)
    values = bare if isinstance(bare, tuple) else (bare,)
    assert all(map(same, values, named.to_tuple()))
    assert len(values) == len(named)
    assert isinstance(bare, tuple) == (len(named) > 1)
    model.config.return_dict = True
    assert model(**batch).keys() == named.keys()

    model.save_pretrained(tmp_path)
    plain = model_class(family, head).from_pretrained(tmp_path)
    assert all(map(same, values, plain(**batch).to_tuple()[: len(values)]))
    again = type(model).from_pretrained(tmp_path, return_dict=False)
    assert again.training  # as PaddleNLP leaves it, and ours does not
    again.eval()
    answer = again(**batch)
    assert all(map(same, values, answer if isinstance(answer, tuple) else (answer,)))
    assert again.config.num_classes == 3


@each_class
def test_states_and_loss_stand_in_the_tuple(family: str, head: str) -> None:
    model = build(family, head, output_hidden_states=True)
    model.eval()
    batch = batch_of(model, head)
    *_, states = model(**batch)
    assert len(states) == model.config.num_hidden_layers + 1
    if head == "ForQuestionAnswering":
        place = paddle.zeros([B], "int64")
        output = model(**batch, start_positions=place, end_positions=place)
        assert [one.shape for one in output[:3]] == [[], [B, L], [B, L]]
    elif head != "Model":
        shape = [B, L] if head in ("ForTokenClassification", "ForMaskedLM") else [B]
        loss, logits, states = model(**batch, labels=paddle.ones(shape, "int64"))
        assert loss.ndim == 0
        assert logits.shape[0] == B
    assert "return_dict" in inspect.signature(model.forward).parameters
    with pytest.raises(TypeError):
        model(**batch, no_such_input=1)


@each_family
def test_the_bare_model_has_paddlenlps_name(family: str) -> None:
    model = build(family, "ForTokenClassification")
    bare = getattr(model, family)
    assert bare is model.base_model is model.backbone
    assert bare.base_model is bare
    assert isinstance(bare, getattr(transformers, FAMILIES[family] + "Model"))
    assert isinstance(model, getattr(transformers, FAMILIES[family] + "PretrainedModel"))
    batch = batch_of(model)
    bare.eval()
    answer = bare(**batch)
    states = answer[0] if isinstance(answer, tuple) else answer
    assert states.shape == [B, L, model.config.hidden_size]
    assert model.get_input_embeddings() is bare.embeddings.word_embeddings
    with pytest.raises(AttributeError):
        _ = model.no_such_attribute


@each_family
def test_a_head_stands_on_a_model_that_is_given(family: str) -> None:
    bare = build(family, "Model", num_labels=4)
    head_class = getattr(transformers, FAMILIES[family] + "ForSequenceClassification")
    model = head_class(bare, num_classes=5, dropout=0.25)
    assert getattr(model, family) is bare
    assert model(**batch_of(model)).shape == [B, 5]
    assert (model.config.classifier_dropout, bare.config.num_labels) == (0.25, 4)
    assert head_class(bare).config.num_labels == 4


@pytest.mark.parametrize("name", ["model", "weights"])
@each_family
def test_weights_have_paddlenlps_names(family: str, name: str, tmp_path: Path) -> None:
    model = build(family, "ForSequenceClassification")
    state = model.state_dict()
    prefix = f"{family}."
    assert any(key.startswith(prefix + "encoder.") for key in state)
    assert not any(key.startswith("backbone.") for key in state)
    if name == "model":  # the file that PaddleNLP reads has the same names
        model.save_pretrained(tmp_path)
        saved = paddle.load(str(tmp_path / "model_state.pdparams"))
        assert saved.keys() - state.keys() <= {f"{prefix}embeddings.position_ids"}
        assert state.keys() <= saved.keys()
        return
    paddle.save(state, str(tmp_path / "weights.pdparams"))
    other = build(family, "ForSequenceClassification")
    for parameter in other.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    other.set_dict(paddle.load(str(tmp_path / "weights.pdparams")))
    assert all(map(same, model.parameters(), other.parameters()))
    ours = {name: value for name, value in model.named_parameters() if "layers.2" not in name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Paddle's own, one a name
        missing, unexpected = other.load_dict({**ours, "x": paddle.zeros([2])})
    assert unexpected == ["x"]
    assert missing
    assert all("layers.2" in one for one in missing)


class Tagger(BertPretrainedModel):
    """What a user writes."""

    def __init__(self, config: Any, width: int = 5) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.layers = nn.LayerList([nn.Linear(config.hidden_size, width) for _ in range(2)])
        self.transitions = self.create_parameter([width, width])
        self.apply(self.init_weights)

    def forward(self, input_ids: Any, token_type_ids: Any = None) -> Any:
        states, _ = self.bert(input_ids, token_type_ids)
        return self.layers[0](states)


def test_a_users_class_is_saved_and_loaded(tmp_path: Path) -> None:
    model = Tagger(config_of("bert"))
    model.save_pretrained(tmp_path / "own")
    again = Tagger.from_pretrained(tmp_path / "own")
    assert all(map(same, model.parameters(), again.parameters()))
    assert {"transitions", "layers.1.bias", "bert.pooler.dense.weight"} <= model.state_dict().keys()
    build("bert", "Model").save_pretrained(tmp_path / "bare")
    begun = Tagger.from_pretrained(tmp_path / "bare")
    assert {"transitions", "layers.0.weight"} <= {*begun.load_report.missing}
    assert again.bert is again.base_model
    assert again.get_input_embeddings() is again.bert.embeddings.word_embeddings


def test_an_auto_class_finds_the_rooms(tmp_path: Path) -> None:
    build("ernie_m", "ForSequenceClassification").save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_classes=4)
    assert type(model) is transformers.ErnieMForSequenceClassification
    assert model(**batch_of(model)).shape == [B, 4]
    assert type(AutoConfig.from_pretrained(tmp_path)) is transformers.ErnieMConfig
    assert type(AutoModel.from_config(config_of("electra"))) is transformers.ElectraModel
    with pytest.raises(UserError, match="ErnieMForMaskedLM"):
        AutoModelForMaskedLM.from_pretrained(tmp_path)


def test_a_script_exports_a_model(tmp_path: Path) -> None:
    model = build("bert", "ForSequenceClassification", num_classes=3)
    model.eval()
    ids = batch_of(model)["input_ids"]
    logits = model(ids)
    spec = [paddle.static.InputSpec([None, None], "int64")]
    program = paddle.jit.to_static(model, input_spec=spec, full_graph=True)
    paddle.jit.save(program, str(tmp_path / "inference" / "model"))
    found = paddle.jit.load(str(tmp_path / "inference" / "model"))(ids)
    found = found[0] if isinstance(found, (list, tuple)) else found
    np.testing.assert_allclose(found.numpy(), logits.numpy(), atol=1e-6)


def test_what_a_config_asks_for_is_kept_with_it(tmp_path: Path) -> None:
    model = build("bert", "Model", output_attentions=True)
    model.config.return_dict = True
    assert model(**batch_of(model)).attentions is not None
    assert not build("bert", "Model").config.output_attentions
    copy = model.config.replace(output_attentions=False)
    assert (copy.return_dict, model.config.output_attentions) == (True, True)
    model.save_pretrained(tmp_path)
    assert BertModel.from_pretrained(tmp_path).config.to_dict() == model.config.to_dict()
    assert BertModel.from_pretrained(tmp_path, return_dict=False)(**batch_of(model))[0].ndim == 3


@pytest.mark.parametrize("family", ["convbert", "electra"])
def test_replaced_tokens_leave_the_loss_to_the_script(family: str) -> None:
    model = build(family, "ForTotalPretraining")
    labels = np.full([B, L], -100)
    labels[0, 1], labels[2, 3] = 5, 6
    batch = batch_of(model) | {"generator_labels": paddle.to_tensor(labels)}
    scores, found, replaced, mask = model(**batch)
    assert [one.shape for one in (scores, found, replaced, mask)] == [[B, L, V], *[[B, L]] * 3]
    assert not replaced.numpy()[labels == -100].any()
    weights = {"gen_weight": 2.0, "disc_weight": 3.0}
    criterion = ElectraPretrainingCriterion(model.config.replace(**weights))
    if family == "convbert":
        criterion = ConvBertPretrainingCriterion(V, **weights)
    loss = criterion(scores, found, batch["generator_labels"], replaced, mask)
    tokens = -nn.functional.log_softmax(scores).numpy()
    generator = (tokens[0, 1, 5] + tokens[2, 3, 6]) / 2
    right, logits = replaced.numpy(), found.numpy()
    each = np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0) - logits * right
    discriminator = each[mask.numpy()].mean()
    assert float(loss) == pytest.approx(2 * generator + 3 * discriminator, rel=1e-5)
    loss.backward()
    nothing = paddle.full_like(batch["generator_labels"], -100)
    assert np.isfinite(float(criterion(scores, found, nothing, replaced, mask)))
    with pytest.raises(ValueError, match="generator_labels"):
        model(batch["input_ids"])


def test_pretraining_by_masks_and_pairs() -> None:
    model = build("bert", "ForPretraining")
    batch = batch_of(model)
    places = paddle.to_tensor([1, 9], "int64")
    scores, relation = model(**batch, masked_positions=places)
    labels, order = paddle.to_tensor([[7], [8]]), paddle.to_tensor([[0], [1], [1]])
    loss = BertPretrainingCriterion(V)(scores, relation, labels, order, 2)
    sentences = nn.functional.cross_entropy(relation, order.flatten())
    tokens = nn.functional.cross_entropy(scores, labels.flatten())
    assert float(loss) == pytest.approx(float(tokens + sentences), rel=1e-5)
    both = ErniePretrainingCriterion()(scores, relation, labels, order)
    assert [float(one) for one in both] == pytest.approx([float(tokens), float(sentences)])
    alone = ErniePretrainingCriterion(with_nsp_loss=False)(scores, relation, labels)
    assert float(alone) == pytest.approx(float(tokens))


def test_a_model_begins_from_a_presets_config() -> None:
    name = "bert-base-uncased"
    values = BertForPretraining.pretrained_init_configuration[name]
    assert BertConfig(**values).vocab_size == 30522
    assert BertConfig.from_pretrained(name).type_vocab_size == 2
    tiny = BertModel(**{**values, **SIZES})
    assert BertForSequenceClassification(tiny).config.hidden_size == SIZES["hidden_size"]
    assert name in tiny.model_name_list

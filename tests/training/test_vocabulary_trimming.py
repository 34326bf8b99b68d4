"""A run that trains only the words of its data is the plain run, in memory and in its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError, WeightsError
from paddlenlp_ext.metrics import accuracy
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.bert import BertConfig, BertForCausalLM, BertForSequenceClassification
from paddlenlp_ext.models.ernie_m import ErnieMConfig, ErnieMForSequenceClassification
from paddlenlp_ext.models.rembert import RemBertConfig, RemBertForSequenceClassification
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding, whole_parameters
from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder, Loader
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.training.checkpoint import Checkpoints
from paddlenlp_ext.training.events import StepDone
from paddlenlp_ext.training.finetune import finetune
from paddlenlp_ext.training.losses import cross_entropy
from paddlenlp_ext.training.optimization import adamw, rate_schedule
from paddlenlp_ext.training.updates import UpdateSettings
from paddlenlp_ext.training.vocabulary_trimming import trim_vocabulary, words_of_texts
from paddlenlp_ext.weights.files import read_weights
from paddlenlp_ext.weights.formats.safe_tensors import read_safetensors

VOCABULARY, STEPS, BATCH = 211, 24, 5
WORDS = range(40, 150, 3)  # of the data; 37 of them
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 19,
    "max_position_embeddings": 31,
    "num_labels": 3,
    "pad_token_id": 1,
    "initializer_range": 0.2,
}
FAMILIES: dict[str, Callable[[], Model]] = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)),
    "ernie_m": lambda: ErnieMForSequenceClassification(ErnieMConfig(**SIZES)),
    "rembert": lambda: RemBertForSequenceClassification(
        RemBertConfig(input_embedding_size=7, output_embedding_size=9, **SIZES)
    ),
}
ROUNDING = {"rtol": 3e-6, "atol": 1e-7}


class SpecialTokens(NamedTuple):
    """What trimming asks of a tokenizer."""

    all_special_ids: Sequence[int] = (0, 1, 2, 210)
    pad_token_id: int = 1

    def __len__(self) -> int:
        return VOCABULARY


def loaders() -> tuple[Loader, Loader]:
    random = np.random.default_rng(4)

    def features(count: int) -> list[Features]:
        rows = [random.choice(WORDS, random.integers(2, 11)).astype(np.int32) for _ in range(count)]
        return [Features(ids, None, int(ids.sum()) % 3) for ids in rows]

    train, dev = features(38), features(7)
    return (
        Loader(train, BatchOrder(len(train), BATCH, seed=3), pad_token_id=1),
        Loader(dev, EvaluationOrder(len(dev), BATCH), pad_token_id=1),
    )


def trim_words(model: Model, loaders: Iterable[Loader], folder: Path) -> None:
    words = words_of_texts(VOCABULARY, SpecialTokens(), loaders)
    trim_vocabulary(model, words, folder)


def run(
    model: Model,
    folder: Path,
    *,
    trim: bool,
    resume: str | None = None,
    until: int = STEPS,
    weight_decay: float = 0.3,
    break_decay: bool = False,
) -> list[float]:
    """Train as the scripts do, saving every 8 steps; return the losses."""
    train, dev = loaders()
    losses = []
    with Checkpoints(folder, {}) as checkpoints:
        found = checkpoints.find(resume)
        if found:
            model = type(model).from_pretrained(found.folder)
        if trim:
            trim_words(model, [train, dev], folder)
        optimizer = adamw(
            model,
            rate_schedule(5e-3, STEPS, warmup_proportion=0.2),
            weight_decay=weight_decay,
            beta2=0.99,
            max_grad_norm=0.5,
            layerwise_decay=0.8,
        )
        if break_decay:
            optimizer.tables = ()
        position = found.restore(model, optimizer) if found else None
        for event in finetune(
            model,
            train,
            evaluate_on={"dev": dev},
            loss=cross_entropy,
            metric=accuracy,
            optimizer=optimizer,
            max_steps=STEPS,
            settings=UpdateSettings(accumulate=2, seed=9),
            resume=position,
        ):
            if not isinstance(event, StepDone):
                continue
            losses.append(event.loss)
            if event.step % 8 == 0:
                checkpoints.save(
                    f"model_{event.step}",
                    event.progress,
                    model,
                    optimizer,
                    write=model.save_pretrained,
                )
            if event.step == until:
                break
    return losses


def new(family: str = "ernie_m") -> Model:
    paddle.seed(21)
    return FAMILIES[family]()


def saved(folder: Path) -> dict[str, np.ndarray]:
    """All tensors of a checkpoint: the model's, then the optimizer's with a slash in the name."""
    weights = read_weights(folder / "model_state.pdparams")
    return weights | read_safetensors(folder / "optimizer.safetensors")


def assert_same(left: Path, right: Path) -> None:
    ours, theirs = saved(left), saved(right)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        # A bias of keys changes no attention weight: its gradient is 0, but for rounding, which
        # AdamW makes as large as any other.
        if "k_proj.bias" in name or "key.bias" in name:  # the second is RemBERT's name in files
            continue
        # An average of squares is as far off, relatively, as the averages are twice.
        np.testing.assert_allclose(array, theirs[name], **ROUNDING, err_msg=name)


def assert_equal(left: Path, right: Path) -> None:
    ours, theirs = saved(left), saved(right)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_weights_and_averages_are_the_plain_runs(family: str, tmp_path: Path) -> None:
    plain = run(new(family), tmp_path / "plain", trim=False)
    trimmed = run(new(family), tmp_path / "trimmed", trim=True)
    np.testing.assert_allclose(trimmed, plain, rtol=0, atol=1e-6)
    for step in (8, 16, 24):
        assert_same(tmp_path / f"trimmed/model_{step}", tmp_path / f"plain/model_{step}")


def test_decay_is_seen_by_these_tests(tmp_path: Path) -> None:
    """Without it the unused rows differ by much more than rounding, and only they."""
    run(new(), tmp_path / "plain", trim=False)
    run(new(), tmp_path / "trimmed", trim=True, break_decay=True)
    name = "ernie_m.embeddings.word_embeddings.weight"
    plain = saved(tmp_path / "plain/model_24")[name]
    broken = saved(tmp_path / "trimmed/model_24")[name]
    differs = (np.abs(broken - plain) > 1e-3 * np.abs(plain)).all(axis=1)
    used = {*WORDS, *SpecialTokens().all_special_ids}
    assert {*np.flatnonzero(differs)} == {*range(VOCABULARY)} - used


def test_no_decay_leaves_the_other_rows_as_they_were(tmp_path: Path) -> None:
    model = new()
    before = model.get_input_embeddings().weight.numpy()
    run(model, tmp_path, trim=True, weight_decay=0.0)
    after = saved(tmp_path / "model_24")["ernie_m.embeddings.word_embeddings.weight"]
    unused = np.setdiff1d(np.arange(VOCABULARY), [*WORDS, *SpecialTokens().all_special_ids])
    np.testing.assert_array_equal(after[unused], before[unused])
    assert (after[WORDS] != before[WORDS]).any(axis=1).all()


def test_resumed_is_bit_for_bit_the_uninterrupted_run(tmp_path: Path) -> None:
    whole = run(new(), tmp_path / "whole", trim=True)
    run(new(), tmp_path / "parts", trim=True, until=11)
    paddle.seed(999)
    rest = run(new(), tmp_path / "parts", trim=True, resume="latest")
    assert rest == whole[8:]
    assert_equal(tmp_path / "parts/model_24", tmp_path / "whole/model_24")


@pytest.mark.parametrize("trim_first", [True, False])
def test_plain_and_trimmed_continue_each_other(trim_first: bool, tmp_path: Path) -> None:
    plain = run(new(), tmp_path / "plain", trim=False)
    run(new(), tmp_path / "mixed", trim=trim_first, until=16)
    rest = run(new(), tmp_path / "mixed", trim=not trim_first, resume="latest")
    np.testing.assert_allclose(rest, plain[16:], rtol=0, atol=1e-6)
    assert_same(tmp_path / "mixed/model_24", tmp_path / "plain/model_24")


def test_words_that_only_the_saved_run_knew_are_not_dropped(tmp_path: Path) -> None:
    """The averages of a word that the data lack now would be lost."""
    run(new(), tmp_path, trim=False, until=8)
    with Checkpoints(tmp_path, {}) as checkpoints:
        found = checkpoints.find("latest")
        assert found is not None
        model = ErnieMForSequenceClassification.from_pretrained(found.folder)
        trim_words(model, [], tmp_path)
        with pytest.raises(WeightsError, match=r"moment1.*resume without `trim_vocab`"):
            found.restore(model, adamw(model, 1e-3, weight_decay=0.3))


def test_models_that_generate_words_are_refused(tmp_path: Path) -> None:
    model = BertForCausalLM(BertConfig(**SIZES))
    with pytest.raises(UserError, match=r"`trim_vocab`: BertForCausalLM .* leave `trim_vocab` out"):
        trim_words(model, loaders(), tmp_path)


def test_a_tokenizer_of_another_model_is_refused() -> None:
    with pytest.raises(UserError, match="tokenizer has 211 tokens, the model 211; take the token"):
        words_of_texts(VOCABULARY, SpecialTokens(all_special_ids=(0, VOCABULARY)), loaders())


def test_words_without_a_row_are_refused() -> None:
    table = TrimmedEmbedding(np.eye(5, 3, dtype=np.float32), np.array([1, 4]))
    np.testing.assert_array_equal(table(paddle.to_tensor([[4, 1]])), [[[0, 0, 0], [0, 1, 0]]])
    with pytest.raises(ValueError):  # noqa: PT011  (Paddle's own words)
        table(paddle.to_tensor([[2, 1]])).numpy()


def test_skipped_updates_do_not_decay(tmp_path: Path) -> None:
    model = new()
    train, dev = loaders()
    trim_words(model, [train, dev], tmp_path)
    before = {name: array.copy() for name, array in whole_parameters(model).items()}
    spoilt = model.register_forward_post_hook(_spoil)
    optimizer = adamw(model, 1e-2, weight_decay=0.5)
    events = finetune(
        model,
        train,
        evaluate_on={},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=optimizer,
        max_steps=2,
        settings=UpdateSettings(on_non_finite="skip"),
    )
    skipped = []
    with pytest.raises(UserError, match="the last 2 updates were all left out"):
        skipped += [event.skipped for event in events if isinstance(event, StepDone)]
    spoilt.remove()
    for name, array in whole_parameters(model).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("overflows", [True, False])
def test_updates_that_a_loss_scaler_leaves_out_do_not_decay(
    overflows: bool, tmp_path: Path
) -> None:
    model = new()
    trim_words(model, loaders(), tmp_path)
    table = model.get_input_embeddings()
    before = table.whole().copy()
    optimizer = adamw(model, 0.01, weight_decay=0.5)
    # As paddle.amp.GradScaler.step does; on a CPU it does nothing.
    optimizer._set_auxiliary_var("found_inf", paddle.to_tensor([overflows]))
    for parameter in model.parameters():
        parameter.grad = paddle.ones_like(parameter)
    optimizer.step()
    after = table.whole()
    unused = np.setdiff1d(np.arange(VOCABULARY), table.used)
    factor = np.float32(1.0 if overflows else 1 - 0.01 * 0.5)
    np.testing.assert_array_equal(after[unused], before[unused] * factor)
    assert np.array_equal(after[table.used], before[table.used]) == overflows


def _spoil(layer: Any, inputs: Any, output: Any) -> Any:
    return replace(output, logits=output.logits * float("nan"))

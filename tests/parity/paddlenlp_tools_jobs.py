"""Run PaddleNLP's and Paddle's own tools on our models; in PaddleNLP's own environment.

python -m tests.parity.paddlenlp_tools_jobs FAMILY FOLDER CLASS …

`test_paddlenlp_tools.py` starts it. Prints a JSON object: of each class, each tool and what is
wrong with it, or nothing.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddlenlp.transformers as theirs_by_name
from paddle.nn import functional as F
from paddle.static import InputSpec
from paddle.utils import unique_name
from paddlenlp.data import (
    DataCollatorForLanguageModeling,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DefaultDataCollator,
)
from paddlenlp.peft import LoRAConfig, LoRAModel, PrefixConfig, PrefixModelForCausalLM
from paddlenlp.trainer import EarlyStoppingCallback, Trainer, TrainingArguments
from paddlenlp.transformers.rembert import modeling as their_rembert
from paddlenlp.utils.log import logger

from paddlenlp_ext import transformers as ours_by_name
from paddlenlp_ext.presets.families import FAMILIES
from tests.tiny import FAMILY_SIZES, SIZES
from tests.tokenizers import spm_models

# Its attention hands on states and weights as one, where its own next layer expects the states.
_attend = their_rembert.RemBertSelfAttention.forward
their_rembert.RemBertSelfAttention.forward = lambda *inputs: _attend(*inputs)[0]

ROWS, LENGTH, CHOICES, BATCH, PREFIX = 7, 17, 5, 3, 3
SENTENCE = "this is what the cat said and the quick brown fox jumps over the lazy dog"
WORDS = SENTENCE.split()
CLOSE = 2e-6  # of scores of a saved and loaded model


class Cell:
    """One class of a family, and what it is trained on.

    Args:
        family: By `model_type`.
        name: Of the class.
        folder: To write into.
    """

    def __init__(self, family: str, name: str, folder: Path) -> None:
        self.family, self.folder = family, folder
        self.cls = getattr(ours_by_name, name)
        self.head = name.removeprefix(FAMILIES[family].prefix)
        self.tokenizer = tokenizer_of(family, folder)
        sizes = SIZES | FAMILY_SIZES[family] | {"vocab_size": len(self.tokenizer)}
        sizes |= {"max_position_embeddings": 37, "num_labels": 4}
        if family == "ernie_m":
            sizes["intermediate_size"] = 4 * sizes["hidden_size"]  # as PaddleNLP's always is
        if self.head == "ForCausalLM":
            sizes["is_decoder"] = True
        self.config = self.cls.config_class(**sizes)
        self.rows = list(self._rows())
        self.collate = self._collator()

    def model(self, **changes: Any) -> Any:
        """Make a model, the same every time, with parameters named as in a new process."""
        paddle.seed(5)
        with unique_name.guard():
            # Its Trainer takes a model without a loss if the output is a tuple.
            changes |= {"return_dict": False} if self.kind == "Model" else {}
            return self.cls(self.config.replace(**changes))

    @property
    def labels(self) -> list[str]:
        """Names of what the head is trained on."""
        return {
            "ForQuestionAnswering": ["start_positions", "end_positions"],
            "UIE": ["start_positions", "end_positions"],
            "UIEM": ["start_positions", "end_positions"],
            "ForPreTraining": ["labels", "next_sentence_label"],
            "Joint": ["generator_labels"],
        }.get(self.kind, ["labels"])

    @property
    def kind(self) -> str:
        """The head; one name for pretraining by two nets, which is another thing elsewhere."""
        joint = self.head == "ForPreTraining" and self.family in ("convbert", "electra")
        return "Joint" if joint else self.head

    def _rows(self) -> Iterator[dict[str, Any]]:
        whole = self.kind in ("ForMultipleChoice", "UIE", "UIEM")
        options = {"truncation": True, "max_length": LENGTH}
        if whole:
            options["padding"] = "max_length"
        for number in range(ROWS):
            text = " ".join(WORDS[number : 2 * number + 2])
            row = dict(self.tokenizer(text, **options))
            length = len(row["input_ids"])
            row = self.spread(row) | self._labels(number, row["input_ids"], length)
            if self.kind in ("ForMaskedLM", "Joint"):
                # Once: it draws from Paddle's generator, and a DataLoader reads ahead.
                row = self._masked(row)
            yield row

    def _masked(self, row: dict[str, Any]) -> dict[str, Any]:
        """Mask every other token or so."""
        mask = DataCollatorForLanguageModeling(self.tokenizer, mlm_probability=0.5)
        labels = [-100]
        while {*labels} == {-100}:
            batch = {name: one.tolist()[0] for name, one in dict(mask([dict(row)])).items()}
            labels = batch["labels"]
        return batch

    def _labels(self, number: int, ids: list[int], length: int) -> dict[str, Any]:
        of_tokens = [(number + place) % 4 for place in range(length)]
        if self.kind in ("UIE", "UIEM"):
            return {name: [float(one == 1) for one in of_tokens] for name in self.labels}
        return {
            "ForMaskedLM": {},
            "Joint": {},
            "ForTokenClassification": {"labels": of_tokens},
            "Discriminator": {"labels": [one % 2 for one in of_tokens]},
            "ForCausalLM": {"labels": ids},
            "ForPreTraining": {"labels": ids, "next_sentence_label": number % 2},
            "ForNextSentencePrediction": {"labels": number % 2},
            "ForMultipleChoice": {"labels": number % CHOICES},
            "ForQuestionAnswering": {"start_positions": 1, "end_positions": number % 3},
        }.get(self.kind, {"labels": number % 4})

    def _collator(self) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        if self.kind in ("ForMultipleChoice", "UIE", "UIEM"):
            return DefaultDataCollator()
        if isinstance(self.rows[0].get("labels"), list):
            pad = DataCollatorForTokenClassification(self.tokenizer)
            return partial(renamed, pad) if self.kind == "Joint" else pad
        return DataCollatorWithPadding(self.tokenizer)

    def one(self) -> dict[str, paddle.Tensor]:
        """Make a batch of one text without padding and labels."""
        row = self.spread(dict(self.tokenizer(SENTENCE, truncation=True, max_length=LENGTH)))
        if self.family == "rembert":
            del row["attention_mask"]  # which PaddleNLP's adds to the scores
        batch = {name: paddle.to_tensor([ids]) for name, ids in row.items()}
        if self.family == "ernie_m":
            ids = batch["input_ids"]  # PaddleNLP's takes [CLS] for padding
            batch["input_ids"] = paddle.where(ids == 0, paddle.full_like(ids, 5), ids)
        if self.kind == "Joint":
            batch["raw_input_ids"] = batch["input_ids"]
            batch["generator_labels"] = batch["input_ids"] * 0 + 5
        return batch

    def spread(self, row: dict[str, Any]) -> dict[str, Any]:
        """Give each choice the tokens of a text in another order, where there are choices."""
        if self.kind != "ForMultipleChoice":
            return row
        return {
            name: [np.roll(ids, turn).tolist() for turn in range(CHOICES)]
            for name, ids in row.items()
        }

    def trainer(self, model: Any, folder: Path, callbacks: Any = None, **changes: Any) -> Trainer:
        """Make PaddleNLP's Trainer, as its users do."""
        settings: dict[str, Any] = {
            "max_steps": 3,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "cosine",
            "save_strategy": "no",
            "report_to": [],
        }
        bare = {"criterion": square} if self.kind == "Model" else {}
        return Trainer(
            model=model,
            tokenizer=self.tokenizer,
            train_dataset=self.rows,
            eval_dataset=self.rows,
            data_collator=self.collate,
            callbacks=callbacks,
            args=TrainingArguments(
                output_dir=str(folder),
                per_device_train_batch_size=BATCH,
                per_device_eval_batch_size=BATCH,
                label_names=self.labels,
                disable_tqdm=True,
                logging_steps=1,
                **settings | changes,
            ),
            compute_metrics=lambda _: {},
            **bare,
        )


def tokenizer_of(family: str, folder: Path) -> Any:
    """Make a tokenizer of the family with a small vocabulary, and save it."""
    folder.mkdir(parents=True, exist_ok=True)
    cls = getattr(ours_by_name, FAMILIES[family].tokenizer)
    if family == "rembert":
        spm_models.train(folder / "sentencepiece.model", **spm_models.REMBERT)
    elif family == "ernie_m":
        spm_models.ernie_m_folder(folder)
    elif family == "xlm-roberta":
        spm_models.train(folder / "sentencepiece.bpe.model")
    else:
        lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS)]
        (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines))
    return cls.from_pretrained(folder)


def renamed(collate: Any, rows: Any) -> dict[str, Any]:
    """Call the labels as pretraining by two nets does."""
    batch = dict(collate(rows))
    return batch | {"generator_labels": batch.pop("labels")}


def square(outputs: Any, _: Any) -> paddle.Tensor:
    """Stand in for the loss of a model without one."""
    return outputs[0].square().mean()


def same(left: Any, right: Any, what: str, close: float = 0.0) -> None:
    """Compare tensors by name."""
    assert left.keys() == right.keys(), f"{what}: {left.keys() ^ right.keys()}"
    for name in left:
        apart = np.abs(np.asarray(left[name]) - np.asarray(right[name])).max()
        assert apart <= close, f"{what}: {name} differs by {apart:.1e}"


def weights(model: Any) -> dict[str, np.ndarray]:
    return {name: one.numpy() for name, one in model.state_dict().items()}


@paddle.no_grad()
def values(model: Any, batch: dict[str, paddle.Tensor]) -> dict[str, np.ndarray]:
    """Return all tensors of a model's output, of ours or of PaddleNLP's."""
    model.eval()
    paddle.seed(11)  # pretraining by two nets draws
    return {str(number): one for number, one in enumerate(tensors(model(**batch)))}


def tensors(output: Any) -> list[np.ndarray]:
    if isinstance(output, paddle.Tensor):
        return [output.numpy()]
    parts = dict(output).values() if isinstance(output, dict) else output
    return [array for part in parts if part is not None for array in tensors(part)]


# ---- the tools -------------------------------------------------------------------------------


def train(cell: Cell, folder: Path) -> None:
    """Train, evaluate, predict, stop early, load the best, continue; with all its loggers."""
    whole = trained(cell, folder, [1.0, 0.5, 0.4], report_to=None)
    assert whole.state.global_step == 4, f"stopped at {whole.state.global_step}"
    losses = [log["loss"] for log in whole.state.log_history if "loss" in log]
    assert len(losses) == 4
    assert np.isfinite(losses).all()
    assert len({*losses}) > 1
    best = cell.cls.from_pretrained(folder / "checkpoint-2")
    same(weights(whole.model), weights(best), "the best")
    whole.compute_metrics = lambda _: {}
    for array in arrays(whole.predict(cell.rows).predictions):
        assert np.isfinite(array).all()
    again = folder / "again"
    trained(cell, again, [0.5, 0.4], resume_from=folder / "checkpoint-2")
    ends = [cell.cls.from_pretrained(one / "checkpoint-4") for one in (folder, again)]
    same(weights(ends[1]), weights(ends[0]), "continued")


def trained(
    cell: Cell, folder: Path, metrics: list[float], *, resume_from: Path | None = None, **more: Any
) -> Trainer:
    """Train as a new process does, evaluating and saving every other step.

    Args:
        cell: What.
        folder: To write into.
        metrics: What evaluations find; two that are no better than the first end it.
        resume_from: A checkpoint to go on from.
        more: Settings.
    """
    left = iter(metrics)
    with unique_name.guard():
        trainer = cell.trainer(
            cell.model(),
            folder,
            [EarlyStoppingCallback(1)],
            max_steps=9,
            evaluation_strategy="steps",
            save_strategy="steps",
            **dict.fromkeys(("eval_steps", "save_steps"), 2),
            load_best_model_at_end=True,
            metric_for_best_model="wanted",
            greater_is_better=True,
            **more,
        )
        trainer.compute_metrics = lambda _: {"wanted": next(left)}
        trainer.train(resume_from_checkpoint=resume_from and str(resume_from))
    return trainer


def arrays(found: Any) -> list[np.ndarray]:
    if isinstance(found, np.ndarray):
        return [found]
    parts = found.values() if isinstance(found, dict) else found
    return [array for part in parts for array in arrays(part)]


def folders(cell: Cell, folder: Path) -> None:
    """What its Trainer saves loads here, in PaddleNLP, and here again from what that saves."""
    trainer = cell.trainer(cell.model(), folder, max_steps=2)
    trainer.train()
    trainer.save_model(str(folder))
    batch, expected = cell.one(), values(trainer.model, cell.one())
    ours = cell.cls.from_pretrained(folder)
    same(values(ours, batch), expected, "loaded here", CLOSE)
    type(cell.tokenizer).from_pretrained(folder)
    name = cell.cls.foreign_class_name("paddle")
    assert hasattr(theirs_by_name, name), f"PaddleNLP has no {name}"
    options = {"num_choices": CHOICES} if cell.kind == "ForMultipleChoice" else {}
    theirs = getattr(theirs_by_name, name).from_pretrained(str(folder), **options)
    found = values(theirs, batch)
    for number, one in expected.items():
        assert number in found, "PaddleNLP returns less"
        assert found[number].size == one.size, f"PaddleNLP returns {found[number].shape}"
        found[number] = found[number].reshape(one.shape)
    same({number: found[number] for number in expected}, expected, "in PaddleNLP", CLOSE)
    theirs.save_pretrained(str(folder / "theirs"))
    same(values(cell.cls.from_pretrained(folder / "theirs"), batch), expected, "here again", CLOSE)


def recompute(cell: Cell, folder: Path) -> None:
    """The same weights after two updates, and each layer computed twice an update."""
    found = {}
    for again in (False, True):
        model, calls = cell.model(), []
        for layer in layers_of(model):
            layer.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1) or None)
        trainer = cell.trainer(model, folder, max_steps=2, recompute=again)
        trainer.train()
        found[again] = weights(model)
        assert len(calls) == (2 if again else 1) * 2 * len(layers_of(model)), len(calls)
    same(found[True], found[False], "computed again", 1e-6)


def layers_of(model: Any) -> list[Any]:
    from paddlenlp_ext.nn.encoder import EncoderLayer

    return [layer for layer in model.sublayers() if isinstance(layer, EncoderLayer)]


def lora(cell: Cell, folder: Path) -> None:
    """Train little, save it, load it, merge it, and save the whole."""
    base = weights(cell.model())
    # Of the heads, what is new in fine-tuning.
    config = LoRAConfig(
        target_modules=[".*q_proj", ".*v_proj"],
        trainable_modules=[".*classifier.*", ".*qa_outputs.*"],
        r=3,
        lora_alpha=5,
    )
    trainer = cell.trainer(LoRAModel(cell.model(), config), folder)
    trainer.train()
    trained = trainer.model
    moved = {name for name, one in weights(trained.model).items() if (one != base.get(name)).any()}
    wanted = {name for name, one in trained.model.state_dict().items() if not one.stop_gradient}
    assert moved <= wanted, moved - wanted
    assert any("lora_B" in name for name in moved)
    trainer.save_model(str(folder))
    batch, expected = cell.one(), values(trained, cell.one())
    again = LoRAModel.from_pretrained(cell.model(), str(folder))
    same(values(again, batch), expected, "loaded again", CLOSE)
    cell.cls.config_class.from_pretrained(folder)
    for layer in again.sublayers():
        if hasattr(layer, "merge_weights"):
            layer.merge_weights = True
    again.eval()
    again.restore_original_model().save_pretrained(folder / "merged")
    merged = cell.cls.from_pretrained(folder / "merged")
    same(values(merged, batch), expected, "merged", 2e-5)


def prefix(cell: Cell, folder: Path) -> None:
    """Train keys and values in front of every layer's, save them, and load them."""
    size = cell.config
    config = PrefixConfig(
        num_prefix_tokens=PREFIX,
        num_attention_heads=size.num_attention_heads,
        num_hidden_layers=size.num_hidden_layers,
        hidden_size=size.hidden_size,
    )
    base = weights(cell.model())
    model = PrefixModelForCausalLM(cell.model(), config, by_layer)
    begun = weights(model.prefix_encoder)
    trainer = cell.trainer(model, folder)
    trainer.train()
    same(weights(model.model), base, "the frozen model")
    assert any((one != begun[name]).any() for name, one in weights(model.prefix_encoder).items())
    trainer.save_model(str(folder))
    batch, expected = cell.one(), values(model, cell.one())
    again = PrefixModelForCausalLM.from_pretrained(cell.model(), str(folder), by_layer)
    same(values(again, batch), expected, "loaded again", CLOSE)
    plain = values(cell.model(), batch)
    assert any(np.abs(plain[number] - one).max() > 1e-4 for number, one in expected.items())


def by_layer(past: paddle.Tensor) -> Any:
    """[B, P, 2·layers, A, D] -> of each layer, keys and values [B, A, P, D]."""
    keys, values_ = past.transpose([2, 0, 3, 1, 4]).split(2)
    return tuple(zip(keys, values_, strict=True))


class Rows(list[Any], paddle.io.Dataset):  # type: ignore[misc]
    """Rows as `paddle.Model` takes them."""


def hapi(cell: Cell, folder: Path) -> None:
    """`paddle.Model`: fit, evaluate, predict, save and load."""
    batches = [cell.collate([row]) for row in cell.rows]
    inputs, labels = ["input_ids"], cell.labels
    if cell.kind == "Joint":  # whose labels are inputs
        for batch in batches:
            batch["position_ids"] = paddle.arange(batch["input_ids"].shape[1]).unsqueeze(0)
            batch["raw_input_ids"] = batch["input_ids"]
        inputs = [*inspect.signature(cell.cls.forward).parameters][1:7]
        labels = []
    data = Rows(
        tuple(np.asarray(batch[name])[0] for name in (*inputs, *labels)) for batch in batches
    )
    specs = [InputSpec([None, None], "int64", name) for name in inputs]
    label_specs = [InputSpec([None], "int64", name) for name in labels]
    model = paddle.Model(cell.model(return_dict=False), specs, label_specs)
    network = model.network
    begun = weights(network)
    model.prepare(
        paddle.optimizer.AdamW(1e-2, parameters=network.parameters()), partial(loss_of, cell)
    )
    options = {"batch_size": 1, "verbose": 0}
    model.fit(data, epochs=1, **options)
    assert any((one != begun[name]).any() for name, one in weights(network).items())
    loss = model.evaluate(data, **options)["loss"]
    assert np.isfinite(loss).all()
    paddle.seed(11)  # pretraining by two nets draws
    found = model.predict(data, **options)
    network.eval()
    paddle.seed(11)
    first = [paddle.to_tensor(one[None]) for one in data[0][: len(inputs)]]
    expected = tensors(network(*first))
    same({"0": found[0][0]}, {"0": expected[0]}, "predicted", CLOSE)
    model.save(str(folder / "hapi"))
    again = paddle.Model(cell.model(return_dict=False), specs, label_specs)
    again.load(str(folder / "hapi"))
    same(weights(again.network), weights(network), "loaded again")


def loss_of(cell: Cell, *outputs: Any) -> paddle.Tensor:
    """Losses as a user of `paddle.Model` writes them: of values, and of labels behind them."""
    if cell.kind == "Joint":
        return outputs[0]
    labels = outputs[len(outputs) - len(cell.labels) :]
    if cell.kind == "Model":
        return outputs[0].square().mean()
    if cell.kind in ("UIE", "UIEM"):
        pairs = zip(outputs, labels, strict=False)
        return sum(F.binary_cross_entropy(one, label) for one, label in pairs)
    if cell.kind == "Discriminator":
        return F.binary_cross_entropy_with_logits(outputs[0], labels[0].astype("float32"))
    pairs = zip(outputs, labels, strict=False)
    return sum(F.cross_entropy(one, label) for one, label in pairs)


def amp(cell: Cell, folder: Path, level: str) -> None:
    """Its mixed precision, of which Paddle has on a CPU what there is."""
    trainer = cell.trainer(cell.model(), folder, bf16=True, fp16_opt_level=level)
    done = trainer.train()
    assert np.isfinite(done.training_loss)
    trainer.save_model(str(folder))
    cell.cls.from_pretrained(folder)


TOOLS: dict[str, Callable[[Cell, Path], None]] = {
    "Trainer": train,
    "folders": folders,
    "recompute": recompute,
    "LoRA": lora,
    "prefix": prefix,
    "hapi": hapi,
    "AMP O1": partial(amp, level="O1"),
    "AMP O2": partial(amp, level="O2"),
}


def main() -> None:
    """Run all tools on classes of a family."""
    family, folder, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    only = os.environ.get("TOOLS", "")  # to look at one
    logger.set_level("ERROR")
    found: dict[str, dict[str, str]] = {}
    for name in names:
        cell = Cell(family, name, folder / name)
        found[name] = {}
        for tool, run in TOOLS.items():
            if only not in tool:
                continue
            at = folder / name / tool.replace(" ", "_")
            at.mkdir()
            try:
                run(cell, at)
                found[name][tool] = ""
            except Exception as error:
                if only:
                    traceback.print_exc()
                found[name][tool] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    print(json.dumps(found))


if __name__ == "__main__":
    main()

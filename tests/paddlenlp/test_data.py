"""Collators, data sets, metrics and schedules of the room."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.io import DataLoader

from paddlenlp_ext.errors import DataError, UserError
from paddlenlp_ext.paddlenlp import data, datasets, metrics, transformers
from paddlenlp_ext.paddlenlp.data import (
    DataCollatorForLanguageModeling,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DefaultDataCollator,
    Dict,
    Pad,
    Stack,
    Tuple,
)
from paddlenlp_ext.paddlenlp.datasets import DatasetBuilder, IterDataset, MapDataset, load_dataset
from paddlenlp_ext.paddlenlp.ops.optimizer import AdamWDL
from paddlenlp_ext.paddlenlp.utils.log import logger
from tests.paddlenlp.checkpoints import DATA, write_tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    write_tokenizer(tmp_path / "tokenizer", "bert")
    return transformers.BertTokenizer.from_pretrained(tmp_path / "tokenizer")


# ---- collators ---------------------------------------------------------------------------------


def test_pad_fills_up_one_axis() -> None:
    rows = [[1, 2, 3], [4], []]
    assert Pad(pad_val=9)(rows).tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]
    assert Pad(pad_right=False)(rows).tolist() == [[1, 2, 3], [0, 0, 4], [0, 0, 0]]
    padded, lengths = Pad(ret_length=True, dtype="float32")(rows)
    assert (padded.dtype, lengths.tolist(), lengths.dtype) == ("float32", [3, 1, 0], "int32")
    assert Pad(ret_length="int64")(rows)[1].dtype == "int64"
    wide = [np.ones((2, 3)), np.ones((2, 1))]
    assert Pad(axis=1, pad_val=-1)(wide)[1].tolist() == [[1, -1, -1], [1, -1, -1]]
    assert Pad()([3, 4]).tolist() == [3, 4]
    assert Pad()([[], [1]]).dtype == "int64"


def test_columns_are_collated_by_place_and_by_name() -> None:
    rows = [([1, 2], 0), ([3], 1)]
    ids, lengths, labels = Tuple(Pad(ret_length=True), Stack(dtype="int64"))(rows)
    assert (ids.tolist(), lengths.tolist(), labels.tolist()) == ([[1, 2], [3, 0]], [2, 1], [0, 1])
    assert Tuple([Stack(axis=1)])([([1, 2],), ([3, 4],)])[0].tolist() == [[1, 3], [2, 4]]
    named = [{"b": b, "a": a, "c": "left out"} for a, b in rows]
    first, second = Dict({"a": Pad(), "b": Stack()})(named)
    assert (first.tolist(), second.tolist()) == ([[1, 2], [3, 0]], [0, 1])
    with pytest.raises(UserError, match="2 parts"):
        Tuple(Pad())(rows)
    for make in (lambda: Tuple(Pad(), 3), lambda: Tuple([Pad()], Pad()), lambda: Dict({"a": None})):
        with pytest.raises(UserError, match="must be a function"):
            make()


def test_examples_of_a_tokenizer_are_padded(tokenizer: Any) -> None:
    rows = [{**tokenizer("good film"), "label": 1}, {**tokenizer("bad"), "label": 0}]
    batch = DataCollatorWithPadding(tokenizer)(rows)
    assert batch["input_ids"].shape == [2, 4]
    assert batch["input_ids"][1, 3] == tokenizer.pad_token_id
    assert (batch["labels"].tolist(), batch["labels"].dtype) == ([1, 0], paddle.int64)
    arrays = DataCollatorWithPadding(tokenizer, return_tensors="np", pad_to_multiple_of=8)(rows)
    assert arrays["input_ids"].shape == (2, 8)
    tagged = [
        {**tokenizer(text), "labels": tags}
        for text, tags in (("good film", [5, 1, 2, 5]), ("bad", [5, 1, 5]))
    ]
    collate = DataCollatorForTokenClassification(tokenizer)
    assert collate(tagged)["labels"].tolist() == [[5, 1, 2, 5], [5, 1, 5, -100]]
    assert collate(tagged, return_tensors="np")["labels"].shape == (2, 4)
    del tagged[0]["labels"], tagged[1]["labels"]
    assert "labels" not in collate(tagged)
    tokenizer.padding_side = "left"
    left = [{**tokenizer(text), "label": [1] * n} for text, n in (("good film", 4), ("bad", 3))]
    assert collate(left)["label"].tolist() == [[1, 1, 1, 1], [-100, 1, 1, 1]]


def test_plain_examples_are_stacked() -> None:
    rows = [{"x": [1.0, 2.0], "label": 2.5, "name": "a"}, {"x": [3.0, 4.0], "label": 1, "name": ""}]
    batch = data.default_data_collator(rows)
    assert {*batch} == {"x", "labels"}
    assert batch["labels"].dtype == batch["x"].dtype == paddle.float32
    objects = [SimpleNamespace(label_ids=[0, 1]), SimpleNamespace(label_ids=[1, 1])]
    assert DefaultDataCollator("np")(objects)["labels"].tolist() == [[0, 1], [1, 1]]
    with pytest.raises(UserError, match="'pt'"):
        DefaultDataCollator()(objects, return_tensors="pt")


def test_words_are_masked(tokenizer: Any) -> None:
    rows = [tokenizer("good film this is not the end"), tokenizer("bad")] * 40
    batch = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5)(rows)
    ids, labels = batch["input_ids"].numpy(), batch["labels"].numpy()
    plain = DataCollatorForLanguageModeling(tokenizer, mlm=False, return_tensors="np")(rows)
    original = plain["input_ids"]
    assert (plain["labels"][original == tokenizer.pad_token_id] == -100).all()
    chosen = labels != -100
    assert (labels[chosen] == original[chosen]).all()
    assert (ids[~chosen] == original[~chosen]).all()
    special = np.isin(original, tokenizer.all_special_ids)
    assert not chosen[special].any()
    assert 0.4 < chosen.sum() / (~special).sum() < 0.6
    masked = ids[chosen] == tokenizer.mask_token_id
    assert 0.7 < masked.mean() < 0.9
    assert not np.isin(ids[chosen][~masked], tokenizer.all_special_ids).any()
    lists = [row["input_ids"] for row in rows]
    assert {*DataCollatorForLanguageModeling(tokenizer)(lists)} == {"input_ids", "labels"}


def test_a_vocabulary_of_special_tokens_is_masked(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text("[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\n")
    collate = DataCollatorForLanguageModeling(transformers.BertTokenizer(file), mlm_probability=1.0)
    ids = collate([{"input_ids": [5] * 40}])["input_ids"]
    assert int(ids.min()) >= 0
    assert int(ids.max()) <= 5


# ---- data sets ---------------------------------------------------------------------------------


def test_a_list_of_examples() -> None:
    dataset = MapDataset([*range(10)], label_list=["a"], note=1)
    assert (dataset.label_list, dataset.info, len(dataset)) == (["a"], {"note": 1}, 10)
    dataset = dataset.map(lambda one: one * 10).filter(lambda one: one % 2)
    assert [*dataset] == [10, 30, 50, 70, 90]
    assert [dataset[i] for i in range(2)] == [10, 30]
    assert [*MapDataset([*range(5)]).map(lambda one: -one, num_workers=2).new_data][1] == -1
    assert [*MapDataset([*range(3)]).map(lambda all_of: all_of[::-1], batched=True)] == [2, 1, 0]
    parts = [[*MapDataset([*range(7)]).shard(3, place)] for place in range(3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]
    parts = [[*MapDataset([*range(7)]).shard(3, place, contiguous=True)] for place in range(3)]
    assert parts == [[0, 1, 2], [3, 4], [5, 6]]
    assert [*MapDataset([*range(3)]).shard()] == [0, 1, 2]


def test_a_stream_of_examples() -> None:
    dataset = IterDataset(lambda: iter(range(10)))
    dataset = dataset.filter(lambda one: one > 2).map(lambda one: one * 2).shard(2, 1)
    assert [*dataset] == [6, 10, 14, 18]
    assert [*dataset.skip(1)] == [8, 12, 16]
    assert [*dataset] == [8, 12, 16]
    loader = iter(DataLoader(IterDataset([1, 2, 3]), batch_size=2, return_list=True))
    assert [one.tolist() for one in loader] == [[1, 2], [3]]


class Reader(DatasetBuilder):
    SPLITS = ("train", "dev")

    def _get_data(self, mode: str) -> str:
        return mode

    def _read(self, filename: str, split: str) -> Iterator[dict[str, Any]]:
        for number in range(0 if filename == "none" else 3):
            yield {"text": f"{filename}:{split}:{number}", "label": "ab"[number % 2]}

    def get_labels(self) -> list[str]:
        return ["a", "b"]


def test_a_reader_of_ones_own() -> None:
    train, dev = Reader().read_datasets()
    assert train[1] == {"text": "train:train:1", "label": 1}
    assert dev.label_list == ["a", "b"]
    both = Reader(lazy=True).read_datasets(splits=["dev", "train"], data_files=["x", "y"])
    assert next(iter(both["train"]))["text"] == "y:train:0"
    assert Reader().read_datasets(data_files="z")[0]["text"] == "z:train:0"
    with pytest.raises(DataError, match="none"):
        Reader().read("none")
    with pytest.raises(DataError, match="2 `data_files` for 1"):
        Reader().read_datasets(splits="train", data_files=["x", "y"])


def test_data_sets_are_loaded_from_files_and_functions(tmp_path: Path) -> None:
    dev = load_dataset("glue", "sst-2", data_files=str(DATA / "dev.tsv"), splits="dev")
    assert (dev.label_list, {*dev[0]}) == (["0", "1"], {"sentence", "labels"})
    files = [str(DATA.parent / "STS-B" / f"{split}.tsv") for split in ("train", "dev")]
    train, dev = load_dataset("glue", "sts-b", data_files=files, lazy=True)
    assert {*next(iter(train))} == {"sentence1", "sentence2", "labels"}
    assert dev.label_list is None
    rows = load_dataset(lambda count: [{"n": i} for i in range(count)], count=3, lazy=False)
    assert [row["n"] for row in rows] == [0, 1, 2]
    xnli = load_dataset("xnli", "de", data_files=str(DATA.parents[1] / "xnli"), splits="dev")
    assert {*xnli[0]} == {"premise", "hypothesis", "label"}
    with pytest.raises(UserError, match="chnsenticorp"):
        load_dataset("chnsenticorp", splits="train")
    with pytest.raises(DataError, match="for 2 `splits`"):
        load_dataset("glue", "rte", data_files="x.tsv")


# ---- metrics and schedules ---------------------------------------------------------------------


def test_metrics_of_all_batches() -> None:
    metric = metrics.AccuracyAndF1()
    assert metric.accumulate() == (0.0,) * 5
    logits = paddle.to_tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    labels = paddle.to_tensor([[1], [0], [0], [1]])
    for begin in (0, 2):
        rows = slice(begin, begin + 2)
        metric.update(metric.compute(logits[rows], labels[rows]))
    assert metric.accumulate() == (0.5, 0.5, 0.5, 0.5, 0.5)
    metric.reset()
    assert (metric.accumulate()[0], metric.name()) == (0.0, "accuracyandf1")
    perfect = metrics.Mcc()
    perfect.update(logits, paddle.to_tensor([1, 0, 1, 0]))
    assert perfect.accumulate() == (1.0,)
    scores = metrics.PearsonAndSpearman(name="sts")
    for value in (1.0, 2.0, 3.0):
        scores.update(paddle.to_tensor([[value]]), paddle.to_tensor([[2 * value]]))
    assert scores.accumulate() == pytest.approx((1.0, 1.0, 1.0))
    assert scores.name() == "sts"


def test_entities_are_counted() -> None:
    tags = [["B-X", "I-X", "O", "B-Y"], ["X-B", "X-I", "O", "Y-B"]]
    found, right = [[0, 1, 2, 3], [3, 2, 2, 2]], [[0, 1, 2, 2], [3, 0, 2, 3]]
    for suffix, names in enumerate(tags):
        metric = metrics.ChunkEvaluator(label_list=names, suffix=bool(suffix))
        counts = metric.compute(paddle.to_tensor([4, 2]), paddle.to_tensor(found), right)
        assert [one.numpy().tolist() for one in counts] == [[3], [3], [2]]
        older = metric.compute(None, [4, 2], found, right)
        assert [one.item() for one in older] == [3, 3, 2]
        metric.update(*(one.numpy() for one in counts))
        assert metric.accumulate() == pytest.approx((2 / 3, 2 / 3, 2 / 3))
        metric.reset()
        assert metric.accumulate() == (0.0, 0.0, 0.0)
    assert metric.name() == ("precision", "recall", "f1")


def rates(schedule: Any, count: int) -> list[float]:
    found = []
    for _ in range(count):
        found.append(schedule.get_lr())
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("LinearDecayWithWarmup", {"warmup": 0.25}, [0, 1, 2, 5 / 3, 4 / 3, 1, 2 / 3, 1 / 3, 0, 0]),
        ("LinearDecayWithWarmup", {"warmup": 0}, [2, 1.75, 1.5, 1.25, 1, 0.75, 0.5, 0.25, 0]),
        ("ConstScheduleWithWarmup", {"warmup": 2}, [0, 1, 2, 2, 2, 2, 2, 2, 2]),
        (
            "CosineDecayWithWarmup",
            {"warmup": 4},
            [0, 0.5, 1, 1.5, 2, 1, 0, 1, 2],  # a whole wave
        ),
        (
            "CosineDecayWithWarmup",
            {"warmup": 4, "with_hard_restarts": True, "num_cycles": 2.0},
            [0, 0.5, 1, 1.5, 2, 1, 2, 1, 0, 0],
        ),
        (
            "PolyDecayWithWarmup",
            {"warmup": 4, "power": 2.0, "lr_end": 1.0},
            [0, 0.5, 1, 1.5, 2, 1 + 9 / 16, 1.25, 1 + 1 / 16, 1, 1],
        ),
    ],
)
def test_schedules(name: str, options: dict[str, Any], expected: list[float]) -> None:
    schedule = getattr(transformers, name)(learning_rate=2.0, total_steps=8, **options)
    assert rates(schedule, len(expected)) == pytest.approx(expected, abs=1e-9)


def test_annealing_ends_at_the_lowest_rate() -> None:
    limits = {"max_lr": 3.0, "min_lr": 1.0, "warmup_step": 2, "decay_step": 6}
    linear = transformers.LinearAnnealingWithWarmupDecay(**limits)
    assert rates(linear, 9) == pytest.approx([0, 1.5, 3, 2.5, 2, 1.5, 1, 1, 1])
    cosine = transformers.CosineAnnealingWithWarmupDecay(**limits)
    assert rates(cosine, 5)[3] == pytest.approx(1 + (1 + math.cos(math.pi / 4)))


def test_rates_fall_from_layer_to_layer() -> None:
    layers = nn.LayerDict({name: nn.Linear(2, 2) for name in ("embeddings", "classifier")})
    layers["encoder"] = nn.LayerDict({"layers": nn.LayerList([nn.Linear(2, 2) for _ in range(2)])})
    names = {parameter.name: name for name, parameter in layers.named_parameters()}
    before = {name: parameter.clone() for name, parameter in layers.named_parameters()}
    optimizer = AdamWDL(
        0.1,
        parameters=layers.parameters(),
        layerwise_decay=0.5,
        n_layers=2,
        name_dict=names,
        weight_decay=0.0,
    )
    for parameter in layers.parameters():
        (parameter.sum() * 3).backward()
    optimizer.step()
    factors = {"embeddings": 1 / 8, "encoder.layers.0": 1 / 4, "encoder.layers.1": 1 / 2}
    for name, parameter in layers.named_parameters():
        factor = factors.get(name.rpartition(".")[0], 1.0)
        step = (before[name] - parameter).numpy()
        assert step == pytest.approx(np.full(step.shape, 0.1 * factor), rel=1e-3)
    plain = nn.Linear(2, 2)
    AdamWDL(parameters=plain.parameters(), set_param_lr_fun=None)
    assert plain.weight.optimize_attr["learning_rate"] == 1.0


def test_wrong_schedules_are_refused() -> None:
    for make in (
        lambda: transformers.ConstScheduleWithWarmup(1.0, warmup=0.1),
        lambda: transformers.PolyDecayWithWarmup(1.0, 9, 1, lr_end=2.0),
        lambda: transformers.CosineDecayWithWarmup(1.0, 9, 1, num_cycles=0.5),
    ):
        with pytest.raises(UserError):
            make()


def test_rooms_name_what_they_have() -> None:
    for module in (data, datasets):
        assert all(hasattr(module, name) for name in dir(module))
        with pytest.raises(AttributeError, match="no_such_name"):
            _ = module.no_such_name
    assert logger.name == "PaddleNLP"

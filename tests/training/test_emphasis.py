"""Label smoothing and class weights, by the losses of torch and transformers, and bad files."""

from __future__ import annotations

import json
import os

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.tasks.batches import EvaluationOrder, Loader
from paddlenlp_ext.tasks.glue import GLUE
from paddlenlp_ext.training.class_weights import (
    balanced_weights,
    choose_emphasis,
    read_class_weights,
)
from paddlenlp_ext.training.losses import Emphasis, cross_entropy
from tests.training.tiny_task import TASK, features

LOGITS = np.random.default_rng(2).standard_normal((2, 5, 3)).astype(np.float32)
LABELS = np.array([[0, 2, IGNORED, 1, 1], [IGNORED, 2, 0, IGNORED, 2]])
WEIGHTS = [0.5, 2.0, 1.25]


def mean(emphasis: Emphasis) -> float:
    """What training minimises: a sum of losses over a count."""
    logits, labels = paddle.to_tensor(LOGITS), paddle.to_tensor(LABELS)
    losses = emphasis.losses(cross_entropy, logits, labels)
    assert losses.shape == [10]
    assert np.all(losses.numpy()[LABELS.ravel() == IGNORED] == 0)
    return float(losses.sum()) / emphasis.count(labels)


def test_nothing_is_emphasised_by_default():
    labels = paddle.to_tensor(LABELS)
    losses = Emphasis().losses(cross_entropy, paddle.to_tensor(LOGITS), labels)
    assert np.array_equal(losses.numpy(), cross_entropy(paddle.to_tensor(LOGITS), labels).numpy())
    assert Emphasis().count(labels) == 7


@pytest.mark.parametrize("smoothing", [0.1, 0.37, 1.0])
def test_smoothed_labels_are_paddles(smoothing):
    kept = LABELS.ravel() != IGNORED
    targets = paddle.nn.functional.one_hot(paddle.to_tensor(LABELS.ravel()[kept]), 3)
    expected = F.cross_entropy(
        paddle.to_tensor(LOGITS.reshape(-1, 3)[kept]),
        F.label_smooth(targets, epsilon=smoothing),
        soft_label=True,
    )
    assert mean(Emphasis(smoothing)) == pytest.approx(float(expected), rel=1e-6)


def test_class_weights_are_paddles():
    weights = paddle.to_tensor(WEIGHTS, "float32")
    logits, labels = paddle.to_tensor(LOGITS.reshape(-1, 3)), paddle.to_tensor(LABELS.ravel())
    expected = F.cross_entropy(logits, labels, weight=weights, ignore_index=IGNORED)
    assert mean(Emphasis(by_class=weights)) == pytest.approx(float(expected), rel=1e-6)


def test_both_together_weigh_smoothed_losses():
    weights = paddle.to_tensor(WEIGHTS, "float32")
    log_p = F.log_softmax(paddle.to_tensor(LOGITS.reshape(-1, 3))).numpy()
    total = count = 0.0
    for row, label in zip(log_p, LABELS.ravel(), strict=True):
        if label != IGNORED:
            total += WEIGHTS[label] * (0.8 * -row[label] + 0.2 * -row.mean())
            count += WEIGHTS[label]
    assert mean(Emphasis(0.2, weights)) == pytest.approx(total / count, rel=1e-6)


@pytest.mark.parity
def test_emphasis_against_torch_and_transformers():
    import torch
    from transformers.trainer_pt_utils import LabelSmoother

    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    smoothed = LabelSmoother(epsilon=0.1)({"logits": logits}, labels)
    assert mean(Emphasis(0.1)) == pytest.approx(smoothed.item(), rel=1e-6)
    weighted = torch.nn.functional.cross_entropy(
        logits.reshape(-1, 3), labels.reshape(-1), torch.tensor(WEIGHTS), ignore_index=IGNORED
    )
    by_class = paddle.to_tensor(WEIGHTS, "float32")
    assert mean(Emphasis(by_class=by_class)) == pytest.approx(weighted.item(), rel=1e-6)


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    labels = [0, 0, 2, 0, 3, 3, 0]
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels)
    assert balanced_weights(labels, 5) == pytest.approx([*np.insert(expected, 1, 1.0), 1.0])
    tokens = [np.array([0, IGNORED, 0]), np.array([2]), np.array([0, 3, 3, 0, IGNORED])]
    assert balanced_weights(tokens, 5) == balanced_weights(labels, 5)


def choose(weights, task=TASK, smoothing: float = 0.0) -> Emphasis:
    loader = Loader(features(9, 1), EvaluationOrder(9, 4), pad_token_id=0)
    return choose_emphasis(smoothing, weights, task, loader)


def test_balanced_weights_come_from_the_training_rows():
    assert choose("balanced").by_class.tolist() == [0.75, 1.5]
    assert choose(None).by_class is None


@pytest.mark.parametrize(
    "text",
    ["odd\t2\r\neven\t0.5\n", "\ufeffeven 0.5\n\nodd 2 ", json.dumps({"Odd": 2, "even": 0.5})],
)
def test_files_of_weights(tmp_path, text):
    (tmp_path / "spaces").write_text("so so 1\nnot at all 2\n")
    assert read_class_weights(str(tmp_path / "spaces")) == {"so so": 1.0, "not at all": 2.0}
    (tmp_path / "weights").write_text(text, encoding="utf-8")
    assert choose(read_class_weights(str(tmp_path / "weights"))).by_class.tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("even\t1\nodd\theavy\n", r"weights:2: expected a label and a number.*got 'heavy'"),
        ("even\t1\nodd\t-1\n", r"weights:2: expected a label and a number of at least 0"),
        ("even\t1\nodd\tnan\n", r"weights:2: expected a label and a number of at least 0"),
        ("3.5\n", r"weights:1: expected a label"),
        ("even\t1\neven\t2\n", r"weights:2: the label 'even' has a weight already"),
        ("", r"weights: is empty; expected lines of a label, a tab and its weight"),
        ("{", r"`class_weights`: .*weights: expected JSON in UTF-8 .* give 'balanced', or a file"),
        ("even\t1\nodd\t0_5\n", r"weights:2: expected a label and a number.*got '0_5'"),
        ("even\t1\nodd\t１\n", r"weights:2: expected a label and a number.*got '１'"),
        ('{"even": 1, "odd": true}', r"weights: expected a label and a number.*got True"),
        ('{"even": 1, "odd": null}', r"weights: expected a label and a number.*got None"),
        ('{"even": 1, "odd": [[1]]}', r"weights: expected a label and a number.*got \[\[1"),
        (f'{{"even": {"1" * 400}}}', r"weights: expected a label and a number.*got 1111"),
        (f'{{"even": {"1" * 5_000}}}', r"weights: expected JSON in UTF-8"),
        (f'{{"even": {"[" * 100_000}', r"weights: expected JSON in UTF-8"),
        ('{"even": 1, "even": 2}', r"weights: expected JSON in UTF-8 .it has 'even' twice"),
        ("{}", r"weights: is empty"),
        ("even\t1\n", r"`class_weights`: the file has no weight for \['odd'\]; expected one for"),
        ("even 1\nodd 2\nother 3", r"`class_weights`: the file has a weight for \['other'\]"),
    ],
)
def test_bad_files_of_weights(tmp_path, text, message):
    (tmp_path / "weights").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        choose(read_class_weights(str(tmp_path / "weights")))


def test_a_missing_file_and_a_task_without_classes_are_named(tmp_path):
    with pytest.raises(UserError, match=r"`class_weights`: .*nothing: cannot be read.*'balanced'"):
        read_class_weights(str(tmp_path / "nothing"))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match=r"fifo: is a FIFO"):
        read_class_weights(str(tmp_path / "fifo"))
    (tmp_path / "latin").write_bytes(b"gr\xfcn 1\n")
    with pytest.raises(UserError, match=r"latin: expected UTF-8"):
        read_class_weights(str(tmp_path / "latin"))
    regression = GLUE["sts-b"]
    with pytest.raises(UserError, match=r"`class_weights`: expected a task .* which STS-B is not"):
        choose("balanced", regression)
    with pytest.raises(UserError, match="`label_smoothing_factor`: expected a task"):
        choose(None, regression, smoothing=0.1)

"""Labels are told by their names, whatever their order."""

import pytest

from paddlenlp_ext.tasks.cross_lingual import PAWS_X, XNLI, XNLI_REMBERT, ExamplesByLanguage
from paddlenlp_ext.tasks.label_orders import label_order, renumber
from paddlenlp_ext.tasks.task import TextExample


@pytest.mark.parametrize(
    ("task", "names", "order"),
    [
        (XNLI, ("entailment", "neutral", "contradiction"), (0, 1, 2)),
        (XNLI_REMBERT, ("entailment", "neutral", "contradiction"), (1, 0, 2)),
        (XNLI, ("CONTRADICTORY", "ENTAILMENT", "NEUTRAL"), (1, 2, 0)),
        (PAWS_X, ("1", "0"), (1, 0)),
        (PAWS_X, ("entailment", "neutral", "contradiction"), None),
        (XNLI, ("entailment", "neutral", "contradiction", "other"), None),
        (XNLI, ("LABEL_0", "LABEL_1", "LABEL_2"), None),
        (XNLI, ("entailment", "neutral"), None),
    ],
)
def test_orders(task, names, order):
    assert label_order(task, names) == order


def test_examples_get_the_models_numbers():
    examples = ExamplesByLanguage(["en"])
    examples["en"] += [TextExample("A.", "B.", label, "x:1") for label in (0, 1, 2)]
    renumber(examples, (2, 0, 1))
    assert [one.label for one in examples["en"]] == [2, 0, 1]
    assert isinstance(examples, ExamplesByLanguage)

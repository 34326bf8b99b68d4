"""Labels are told by their names, whatever their order."""

import pytest

from paddlenlp_ext.tasks.cross_lingual import PAWS_X, XNLI, XNLI_REMBERT
from paddlenlp_ext.tasks.glue import GLUE
from paddlenlp_ext.tasks.label_orders import is_unnamed, label_order


def test_numbers_alone_are_no_names():
    assert is_unnamed(("LABEL_0", "LABEL_1"))
    assert is_unnamed(("0", "1"))
    for names in (("00", "01"), ("1", "0"), ("label0", "label1"), ("LABEL_00", "LABEL_01"), ("٠",)):
        assert not is_unnamed(names)


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
        (XNLI, ("entailment", "Entailment", "neutral"), None),
        (PAWS_X, ("Paraphrase", "not-paraphrase"), (1, 0)),
        (GLUE["sst-2"], ("POSITIVE", "NEGATIVE"), (1, 0)),
        (GLUE["sst-2"], ("neg", "pos"), (0, 1)),
        (GLUE["mrpc"], ("equivalent", "not equivalent"), (1, 0)),
        (GLUE["rte"], ("not_entailment", "entailment"), (1, 0)),
    ],
)
def test_orders(task, names, order):
    assert label_order(task, names) == order

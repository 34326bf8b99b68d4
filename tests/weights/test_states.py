from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.weights.names import NameTable, Row
from paddlenlp_ext.weights.states import Array, LoadReport, export_state, load_state, require_fit

TABLE = NameTable(
    [
        ("embeddings.word_embeddings", "embeddings.word_embeddings"),
        ("encoder.layers.{}.linear1", "encoder.layer.{}.intermediate.dense"),
        Row("encoder.layers.{}.conv.bias", "encoder.layer.{}.conv.bias", column=True),
    ],
    [("classifier", "classifier"), ("lm_head.bias", "cls.predictions.decoder.bias")],
    prefix="bert.",
    tied={
        "cls.predictions.decoder.weight": "backbone.embeddings.word_embeddings.weight",
        "cls.predictions.decoder_bias": "lm_head.bias",
    },
    aliases={"cls.predictions.decoder_weight": "backbone.embeddings.word_embeddings.weight"},
    ignored=("embeddings.position_ids",),
)
LINEAR = "backbone.encoder.layers.{}.linear1.weight"
TRANSPOSED = {LINEAR.format(0), LINEAR.format(1)}


def model() -> dict[str, Array]:
    """Our tensors of a model with two heads; one linear weight is square."""
    random = np.random.default_rng(0)
    shapes = {
        "backbone.embeddings.word_embeddings.weight": (7, 3),
        LINEAR.format(0): (3, 5),
        LINEAR.format(1): (3, 3),
        "backbone.encoder.layers.0.linear1.bias": (5,),
        "backbone.encoder.layers.1.linear1.bias": (3,),
        "backbone.encoder.layers.0.conv.bias": (4,),
        "classifier.weight": (3, 2),
        "classifier.bias": (2,),
        "lm_head.bias": (7,),
    }
    return {name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()}


def shapes(state: dict[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in state.items()}


def without(state: dict[str, Array], *parts: str) -> dict[str, Array]:
    return {k: v for k, v in state.items() if not any(part in k for part in parts)}


def test_export_gives_their_names_and_layout() -> None:
    ours = model()
    theirs = export_state(ours, TABLE, TRANSPOSED)
    words = ours["backbone.embeddings.word_embeddings.weight"]
    for layer in (0, 1):
        weight = theirs[f"bert.encoder.layer.{layer}.intermediate.dense.weight"]
        np.testing.assert_array_equal(weight, ours[LINEAR.format(layer)].T)
    assert theirs["bert.encoder.layer.0.conv.bias"].shape == (4, 1)
    assert theirs["classifier.weight"].shape == (3, 2)  # not named as transposed
    assert (
        theirs["cls.predictions.decoder.weight"] is theirs["bert.embeddings.word_embeddings.weight"]
    )
    np.testing.assert_array_equal(theirs["cls.predictions.decoder.weight"], words)
    assert theirs["cls.predictions.decoder_bias"] is theirs["cls.predictions.decoder.bias"]
    assert "cls.predictions.decoder_weight" not in theirs
    assert len(theirs) == len(ours) + 2


@pytest.mark.parametrize("transposed", [TRANSPOSED, set()])
def test_load_undoes_export(transposed: set[str]) -> None:
    ours = model()
    state, report = load_state(
        export_state(ours, TABLE, transposed), TABLE, shapes(ours), transposed
    )
    assert report == LoadReport()
    assert report.describe() == "everything fits"
    assert state.keys() == ours.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(state[name], array)
        assert state[name].shape == array.shape


def test_file_of_a_head_into_the_bare_model() -> None:
    ours = model()
    bare = {k.removeprefix("backbone."): v for k, v in ours.items() if k.startswith("backbone.")}
    transposed = {name.removeprefix("backbone.") for name in TRANSPOSED}
    file = export_state(ours, TABLE, TRANSPOSED)
    state, report = load_state(file, TABLE, shapes(bare), transposed)
    assert state.keys() == bare.keys()
    assert all(np.array_equal(state[name], bare[name]) for name in bare)
    assert report == LoadReport(
        unexpected=(
            "classifier.bias",
            "classifier.weight",
            "cls.predictions.decoder.bias",
            "cls.predictions.decoder_bias",
        )
    )
    # And a file of the bare model, whose names lack the prefix, into one with heads.
    bare_file = export_state(bare, TABLE, transposed)
    assert not any(name.startswith("bert.") for name in bare_file)
    state, report = load_state(bare_file, TABLE, shapes(ours), TRANSPOSED)
    assert report == LoadReport(missing=("classifier.bias", "classifier.weight", "lm_head.bias"))
    assert all(np.array_equal(state[f"backbone.{name}"], bare[name]) for name in bare)


def test_everything_wrong_is_reported_at_once() -> None:
    ours = model()
    file = export_state(ours, TABLE, TRANSPOSED)
    del file["bert.embeddings.word_embeddings.weight"]
    del file["cls.predictions.decoder.weight"]
    del file["classifier.bias"]
    file["bert.encoder.layer.0.intermediate.dense.weight"] = np.zeros((3, 5), "f4")
    file["bert.encoder.layer.2.intermediate.dense.weight"] = np.zeros((3, 3), "f4")
    file["bert.embeddings.position_ids"] = np.arange(4)
    file["step"] = np.zeros(())
    state, report = load_state(file, TABLE, shapes(ours), TRANSPOSED)
    assert report.missing == ("backbone.embeddings.word_embeddings.weight", "classifier.bias")
    assert report.unexpected == ("bert.encoder.layer.2.intermediate.dense.weight", "step")
    assert report.mismatched == ((LINEAR.format(0), (5, 3), (3, 5)),)
    assert state.keys() == ours.keys() - {*report.missing, LINEAR.format(0)}
    said = report.describe()
    assert "not in the file: backbone.embeddings.word_embeddings.weight, classifier.bias" in said
    assert f"{LINEAR.format(0)} [5, 3] for [3, 5]" in said
    assert "\n" not in said


def test_a_repetition_stands_in_for_what_it_repeats() -> None:
    ours = model()
    file = export_state(ours, TABLE)
    words = file.pop("bert.embeddings.word_embeddings.weight")
    del file["cls.predictions.decoder.weight"]
    del file["cls.predictions.decoder.bias"]
    file["cls.predictions.decoder_weight"] = words  # PaddleNLP's older name
    state, report = load_state(file, TABLE, shapes(ours))
    assert report == LoadReport()
    np.testing.assert_array_equal(
        state["backbone.embeddings.word_embeddings.weight"],
        ours["backbone.embeddings.word_embeddings.weight"],
    )
    np.testing.assert_array_equal(state["lm_head.bias"], ours["lm_head.bias"])


def test_a_repetition_that_differs_is_reported_and_not_taken() -> None:
    ours = model()
    file = export_state(ours, TABLE)
    file["cls.predictions.decoder.weight"] = file["cls.predictions.decoder.weight"] + 1
    state, report = load_state(file, TABLE, shapes(ours))
    words = "backbone.embeddings.word_embeddings.weight"
    assert report == LoadReport(differing=(("cls.predictions.decoder.weight", words),))
    np.testing.assert_array_equal(state[words], ours[words])
    assert "cls.predictions.decoder.weight (kept: " in report.describe()


def test_require_fit() -> None:
    report = LoadReport(missing=("classifier.bias",), unexpected=("x",))
    require_fit(report, "folder", lambda name: name.startswith("classifier"))
    with pytest.raises(WeightsError, match=r"^folder: .*classifier\.bias.*; not in the model: x"):
        require_fit(report, "folder", lambda name: False)
    with pytest.raises(WeightsError, match=r"classifier\.bias \[2\] for \[3\]"):
        require_fit(
            LoadReport(mismatched=(("classifier.bias", (2,), (3,)),)), "f", lambda name: True
        )


def refusal(report: LoadReport) -> str:
    with pytest.raises(WeightsError) as error:
        require_fit(report, "folder", lambda name: False)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_refusal_names_the_first_tensors_and_counts_the_others() -> None:
    names = tuple(f"{letter}.bias" for letter in "abcdefghi")
    report = LoadReport(names, names[:7], tuple((name, (2,), (3,)) for name in names[:8]))
    said = refusal(report)
    assert "not in the file: a.bias, b.bias, c.bias and 6 more;" in said
    assert "c.bias and 4 more; of another shape" in said
    assert "c.bias [2] for [3] and 5 more;" in said
    assert "i.bias" in report.describe()  # all of it, where it is asked for


def test_two_nets_in_the_place_of_one_and_the_other_way_round() -> None:
    nets = ("discriminator.embeddings.weight", "generator.embeddings.weight")
    one = ("encoder.embeddings.weight",)
    both = refusal(LoadReport(one, nets))
    assert "a checkpoint of pretraining, with a generator and a discriminator" in both
    assert "with get_ft_model.py, and give the discriminator's folder" in both
    single = refusal(LoadReport(nets, one))
    assert "holds a single model" in single
    assert "give a checkpoint of it (model_<step>.pdparams)" in single
    assert len(max(both, single)) < 350
    assert "does not fit the model" in refusal(LoadReport(nets, nets[:1]))

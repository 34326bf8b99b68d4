from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.weights.names import NameTable, Row, collapse

ROWS = (
    ("embeddings.word_embeddings", "embeddings.word_embeddings"),
    ("embeddings.layer_norm", "embeddings.LayerNorm"),
    ("encoder.layers.{}.self_attn.out_proj", "encoder.layer.{}.attention.output.dense"),
    ("encoder.layers.{}.norm1", "encoder.layer.{}.attention.output.LayerNorm"),
    ("encoder.layers.{}.linear2", "encoder.layer.{}.output.dense"),
    ("encoder.layers.{}.conv.bias", "encoder.layer.{}.attention.conv.bias"),
    ("encoder.projection", "encoder.embedding_hidden_mapping_in"),
)
HEADS = (
    ("classifier", "classifier"),
    ("lm_head.dense", "cls.predictions.transform.dense"),
    ("lm_head.bias", "cls.predictions.bias"),
)
TABLE = NameTable(
    ROWS,
    HEADS,
    prefix="bert.",
    aliases={
        "cls.predictions.decoder.weight": "backbone.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "lm_head.bias",
    },
    ignored=("embeddings.position_ids",),
)

LAYER = st.integers(0, 1000).map(str)
LEAF = st.sampled_from(["weight", "bias"])


@st.composite
def names(draw: st.DrawFn, side: int, *, bare: bool) -> str:
    """A name of `TABLE` on one side (0 ours, 1 theirs)."""
    in_head = not bare and draw(st.booleans())
    path = draw(st.sampled_from([row[side] for row in (HEADS if in_head else ROWS)]))
    path = ".".join(draw(LAYER) if part == "{}" else part for part in path.split("."))
    if not path.endswith("bias"):
        path = f"{path}.{draw(LEAF)}"
    prefix = "" if bare or in_head else ("backbone.", "bert.")[side]
    return prefix + path


@given(st.data(), st.booleans())
def test_there_and_back_from_ours(data: st.DataObject, bare: bool) -> None:
    ours = data.draw(st.sets(names(0, bare=bare), min_size=1, max_size=9))
    theirs = TABLE.to_theirs(ours)
    assert len({*theirs.values()}) == len(ours)
    # A file of heads alone looks like a bare model's.
    if bare or any(name.startswith("backbone.") for name in ours):
        assert TABLE.is_bare(ours) is bare
    back = TABLE.to_ours(theirs.values(), bare=bare)
    assert back.unknown == back.ignored == ()
    assert back.names == {name: mine for mine, name in theirs.items()}


@given(st.data(), st.booleans())
def test_there_and_back_from_theirs(data: st.DataObject, bare: bool) -> None:
    theirs = data.draw(st.sets(names(1, bare=bare), min_size=1, max_size=9))
    ours = TABLE.to_ours(theirs, bare=bare)
    assert ours.unknown == ()
    assert TABLE.to_theirs(ours.names.values()) == {mine: name for name, mine in ours.names.items()}


@given(names(1, bare=False), st.integers(0, 200), st.text(min_size=1, max_size=3))
def test_a_changed_name_is_unknown_or_another_row(name: str, place: int, extra: str) -> None:
    changed = name[:place] + extra + name[place:]
    renamed = TABLE.to_ours([changed])
    assert len(renamed.names) + len(renamed.unknown) + len(renamed.repeats) == 1
    for theirs, ours in renamed.names.items():
        assert TABLE.to_theirs([ours])[ours] in (theirs, f"bert.{theirs}")


@pytest.mark.parametrize(
    "name",
    [
        "bert.encoder.layer.{}.output.dense.weight",
        "bert.encoder.layer.-1.output.dense.weight",
        "bert.encoder.layer.²¹.output.dense.weight",
        "bert.encoder.layer.1.output.dense.gamma",
        "bert.encoder.layer.1.output.dense",
        "bert.encoder.layer.1.output.dense.weight.bias",
        "bert.bert.encoder.layer.1.output.dense.weight",
        "x.encoder.layer.1.output.dense.weight",
        "encoder.layer.1.output.dense.weight",  # beside prefixed names
        "bert.classifier.weight",
        "bert.",
        "",
    ],
)
def test_unknown_names_are_reported(name: str) -> None:
    renamed = TABLE.to_ours(["bert.embeddings.word_embeddings.weight", name])
    assert renamed.unknown == (name,)
    assert len(renamed.names) == 1


def test_paths_match_as_a_whole() -> None:
    # `output.dense` is a part of `attention.output.dense`.
    renamed = TABLE.to_ours(
        [
            "bert.encoder.layer.7.attention.output.dense.weight",
            "bert.encoder.layer.7.output.dense.weight",
        ]
    )
    assert [*renamed.names.values()] == [
        "backbone.encoder.layers.7.self_attn.out_proj.weight",
        "backbone.encoder.layers.7.linear2.weight",
    ]


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("bare", [True, False])
def test_bare_and_full_files_into_bare_and_full_models(prefix: str, bare: bool) -> None:
    backbone = "" if bare else "backbone."
    renamed = TABLE.to_ours(
        [
            f"{prefix}embeddings.LayerNorm.weight",
            f"{prefix}encoder.embedding_hidden_mapping_in.bias",
            f"{prefix}embeddings.position_ids",
            "classifier.bias",
        ],
        bare=bare,
    )
    assert renamed.names == {
        f"{prefix}embeddings.LayerNorm.weight": f"{backbone}embeddings.layer_norm.weight",
        f"{prefix}encoder.embedding_hidden_mapping_in.bias": f"{backbone}encoder.projection.bias",
        "classifier.bias": "classifier.bias",
    }
    assert renamed.ignored == (f"{prefix}embeddings.position_ids",)


def test_gamma_and_beta_are_weight_and_bias_of_layer_norms_alone() -> None:
    renamed = TABLE.to_ours(
        [
            "bert.embeddings.LayerNorm.gamma",
            "bert.encoder.layer.3.attention.output.LayerNorm.beta",
            "bert.encoder.layer.3.output.dense.beta",
        ]
    )
    assert [*renamed.names.values()] == [
        "backbone.embeddings.layer_norm.weight",
        "backbone.encoder.layers.3.norm1.bias",
    ]
    assert renamed.unknown == ("bert.encoder.layer.3.output.dense.beta",)


def test_one_tensor_under_two_names_is_refused() -> None:
    names = ["bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight"]
    with pytest.raises(WeightsError, match=r"twice.*gamma.*weight"):
        TABLE.to_ours(names)


def test_our_unknown_names_are_all_named() -> None:
    with pytest.raises(WeightsError, match=r"encoder\.x\.weight, y"):
        TABLE.to_theirs(["backbone.embeddings.word_embeddings.weight", "y", "encoder.x.weight"])


def test_tied_names_go_with_their_module() -> None:
    table = NameTable(
        ROWS,
        (("lm_head.bias", "cls.predictions.decoder.bias"), ("classifier", "classifier")),
        prefix="bert.",
        tied={
            "cls.predictions.decoder.weight": "backbone.embeddings.word_embeddings.weight",
            "cls.predictions.decoder_bias": "lm_head.bias",
        },
    )
    words = "backbone.embeddings.word_embeddings.weight"
    assert table.tied_to([words, "lm_head.bias"]) == {
        "cls.predictions.decoder.weight": words,
        "cls.predictions.decoder_bias": "lm_head.bias",
    }
    assert table.tied_to([words, "classifier.weight"]) == {}
    assert table.tied_to(["embeddings.word_embeddings.weight"]) == {}
    repeats = table.to_ours(
        ["bert.embeddings.word_embeddings.weight", "cls.predictions.decoder_bias"]
    )
    assert repeats.repeats == {"cls.predictions.decoder_bias": "lm_head.bias"}


def test_a_task_takes_a_head_name_of_another() -> None:
    table = TABLE.with_heads([("qa_outputs", "classifier")])
    assert table.to_theirs(["qa_outputs.bias"]) == {"qa_outputs.bias": "classifier.bias"}
    assert table.to_ours(["classifier.bias"]).names == {"classifier.bias": "qa_outputs.bias"}
    assert table.to_theirs(["lm_head.bias"]) == {"lm_head.bias": "cls.predictions.bias"}
    with pytest.raises(WeightsError):
        table.to_theirs(["classifier.bias"])
    assert TABLE.to_theirs(["classifier.bias"]) == {"classifier.bias": "classifier.bias"}


def test_columns_are_those_of_their_row() -> None:
    table = NameTable([*ROWS[:5], Row(*ROWS[5], column=True)], prefix="bert.")
    assert table.is_column("encoder.layers.3.conv.bias")
    assert table.is_column("backbone.encoder.layers.11.conv.bias")
    assert not table.is_column("encoder.layers.3.linear2.bias")


@pytest.mark.parametrize(
    ("rows", "heads", "options"),
    [
        ([("a", "x"), ("a", "y")], [], {}),
        ([("a", "x"), ("b", "x")], [], {}),
        ([("a", "x"), ("a.weight", "y.weight")], [], {}),
        ([("a", "x")], [("backbone.a", "y")], {}),
        ([("a", "x")], [("b", "bert.x")], {}),
        ([("a.{}", "x")], [], {}),
        ([("a", "x")], [("a", "z")], {}),  # bare or full?
        ([("a", "x"), ("backbone.a", "y")], [], {}),
        ([("a", "x")], [("b", "z")], {"tied": {"z.weight": "b.weight"}}),
        ([("a", "x")], [("b", "z")], {"aliases": {"w.weight": "c.weight"}}),
        ([("a", "x")], [], {"prefix": "bert"}),
    ],
)
def test_ambiguous_tables_are_refused(
    rows: list[tuple[str, str]], heads: list[tuple[str, str]], options: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        NameTable(rows, heads, **{"prefix": "bert.", **options})


def test_collapse_writes_layers_as_ranges() -> None:
    names = [f"layers.{layer}.bias" for layer in (0, 1, 2, 5, 10, 11)] + [
        "b.1",
        "a.0.c.1",
        "a.0.c.2",
    ]
    assert collapse(names) == "a.0.c.1, a.0.c.2, b.1, layers.{0-2,5,10-11}.bias"
    assert collapse([]) == ""

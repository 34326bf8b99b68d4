"""Folders: what is written can be read, and so can what older libraries wrote."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError, WeightsError
from paddlenlp_ext.tokenizers.auto import BY_FAMILY
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.tokenizers.saving import kinds
from tests.tokenizers.conftest import VOCABULARY, MakeFolder

TEXT = "Hällo newword <e> [MASK] you?"


def test_everything_survives(make_folder: MakeFolder, tmp_path: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(
        make_folder(),
        do_lower_case=False,
        strip_accents=True,
        model_max_length=77,
        padding_side="left",
        truncation_side="left",
    )
    size = len(VOCABULARY)
    assert tokenizer.add_tokens(["newword", "hello"]) == 1
    changes = {
        "mask_token": AddedToken("[MASK]", lstrip=True),
        "additional_special_tokens": ["<e>"],
    }
    assert tokenizer.add_special_tokens(changes) == 1
    assert tokenizer.add_special_tokens(changes) == 0
    files = tokenizer.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in files) == [
        "added_tokens.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]

    again = BertTokenizer.from_pretrained(tmp_path / "saved")
    assert again.settings == tokenizer.settings
    assert (again.model_max_length, again.padding_side, again.truncation_side) == (
        77,
        "left",
        "left",
    )
    assert again.added_tokens_encoder == tokenizer.added_tokens_encoder
    assert again.special.roles["mask_token"].lstrip
    assert again(TEXT).input_ids == tokenizer(TEXT).input_ids
    assert {size, size + 1} < set(again(TEXT).input_ids)
    assert again.additional_special_tokens == ["<e>"]
    assert again.decode([size, size + 1], skip_special_tokens=True) == "newword"
    assert BertTokenizer.from_pretrained(tmp_path / "saved", do_lower_case=True).do_lower_case


def test_added_tokens_come_after_the_vocabulary(tokenizer: BertTokenizer) -> None:
    size = len(VOCABULARY)
    assert tokenizer.add_tokens(["low", "x", "x", "y"]) == 2
    assert len(tokenizer) == size + 2
    assert tokenizer.vocab_size == size
    assert tokenizer.tokenize("lowest xlow") == ["low", "[UNK]", "x", "low"]
    tokenizer.pad_token = "<pad>"
    assert tokenizer.pad_token_id == size + 2
    assert tokenizer(["a", "a b"], padding=True).input_ids[0][-1] == size + 2
    with pytest.raises(ValueError, match="'start_token' is no role"):
        tokenizer.add_special_tokens({"start_token": "<s>"})


def test_special_tokens_that_the_vocabulary_lacks_are_added(make_folder: MakeFolder) -> None:
    tokenizer = BertTokenizer.from_pretrained(make_folder(["[UNK]", "a"]))
    assert tokenizer("a").input_ids == [4, 1, 2]  # in the order of ROLES, as transformers does
    assert len(tokenizer) == 6


WRONG: list[tuple[str, Any]] = [
    *(("cls_token", value) for value in (5, [], None, "", "\ud800", {}, {"content": 5})),
    ("cls_token", {"content": "[CLS]", "lstrip": "no"}),
    ("bos_token", 5),
    ("additional_special_tokens", "<e>"),
    ("additional_special_tokens", [5]),
    *(("added_tokens_decoder", value) for value in ([], 5, {"a": {"content": "x"}}, {"5": 5})),
    ("added_tokens_decoder", {"5": {"content": "x", "lstrip": "red"}}),
    ("added_tokens_decoder", {"9" * 5000: {"content": "x"}}),
    *(("model_max_length", value) for value in ("x", 0, -1, True, 2.5)),
    ("max_len", "x"),
    *((name, "no") for name in ("do_lower_case", "strip_accents", "tokenize_chinese_chars")),
    ("padding_side", "up"),
    ("truncation_side", 5),
    ("never_split", "word"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_settings_of_another_type_are_refused(
    make_folder: MakeFolder, name: str, value: object
) -> None:
    with pytest.raises(UserError, match=f"tokenizer_config.json: {name} must") as caught:
        BertTokenizer.from_pretrained(make_folder(**{name: value}))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("special_tokens_map.json", {"cls_token": 5}, "cls_token must be a text"),
        ("added_tokens.json", {"x": "y"}, "expected a token and its id"),
        ("added_tokens.json", {"": 99}, "expected a token and its id"),
        ("added_tokens.json", {"x": -1}, "expected a token and its id"),
    ],
)
def test_other_files_of_settings_are_checked_too(
    make_folder: MakeFolder, file: str, content: object, said: str
) -> None:
    folder = make_folder()
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{file}: {said}"):
        BertTokenizer.from_pretrained(folder)


def test_settings_of_others_are_kept_and_harm_nothing(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    others = dict.fromkeys(("tokens", "segmenter", "roles", "additional", "added", "self"), 5)
    odd = {"clean_up_tokenization_spaces": True, "sp_model_kwargs": {}, "x": None, "y": "\ud800é"}
    of_files = dict.fromkeys(("vocab_file", "tokenizer_file", "name_or_path"), "/else/where")
    nulls = dict.fromkeys(("do_lower_case", "model_max_length", "never_split", "bos_token"))
    tokenizer = BertTokenizer.from_pretrained(make_folder(**others, **odd, **of_files, **nulls))
    assert tokenizer.do_lower_case
    assert len(tokenizer) == len(VOCABULARY)
    tokenizer.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved/tokenizer_config.json").read_text("utf-8"))
    assert {**others, **odd}.items() <= saved.items()
    assert not of_files.keys() & saved.keys()
    assert BertTokenizer.from_pretrained(tmp_path / "saved").other_settings == {**others, **odd}


def test_lengths_may_be_written_as_a_float(make_folder: MakeFolder) -> None:
    found = BertTokenizer.from_pretrained(make_folder(model_max_length=1e30)).model_max_length
    assert found == int(1e30)
    assert type(found) is int


@pytest.mark.parametrize("family", BY_FAMILY.values())
def test_every_argument_of_a_constructor_can_be_checked(family: type) -> None:
    assert {"mask_token", "padding_side"} <= kinds(family).keys()


class SpacedTokenizer(BertTokenizer):
    """A family with a setting of its own, which nothing else knows."""

    def __init__(self, vocab_file: Path, *, spaced: bool | None = None, **others: Any) -> None:
        self.spaced = spaced
        super().__init__(vocab_file, **others)


def test_a_setting_of_a_new_family_needs_only_its_constructor(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    SpacedTokenizer.from_pretrained(make_folder(spaced=True)).save_pretrained(tmp_path / "saved")
    again = SpacedTokenizer.from_pretrained(tmp_path / "saved")
    assert again.spaced
    assert "spaced" in again.settings
    assert BertTokenizer.from_pretrained(tmp_path / "saved").other_settings == {"spaced": True}
    with pytest.raises(UserError, match="spaced must be true or false"):
        SpacedTokenizer.from_pretrained(make_folder(name="wrong", spaced="yes"))


def test_a_setting_that_no_file_can_have_is_a_mistake() -> None:
    class Wrong(BertTokenizer):
        def __init__(self, vocab_file: Path, *, spaced: complex = 1j) -> None:
            super().__init__(vocab_file)

    with pytest.raises(TypeError, match="spaced is of a type that no file can have"):
        kinds(Wrong)


def test_minimal_folders_of_older_libraries(make_folder: MakeFolder) -> None:
    folder = make_folder(do_lower_case=False, max_len=128, tokenizer_class="BertTokenizer", foo=1)
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert not tokenizer.do_lower_case
    assert tokenizer.model_max_length == 128


def test_tokens_in_the_older_form(make_folder: MakeFolder) -> None:
    folder = make_folder(mask_token={"__type": "AddedToken", "content": "[M]", "lstrip": True})
    special = {"cls_token": "[C]", "additional_special_tokens": ["<e>"]}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    size = len(VOCABULARY)
    added = {"newword": size, "[M]": size + 2, "[C]": size + 1, "<e>": size + 3}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    tokenizer = BertTokenizer.from_pretrained(folder)
    ids = tokenizer("newword [M]<e>").input_ids
    assert ids == [size + 1, size, size + 2, size + 3, 2]
    assert tokenizer.all_special_ids == [0, 2, 3, size + 1, size + 2, size + 3]


def test_added_ids_that_the_vocabulary_gives_to_others_are_refused(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "added_tokens.json").write_text(json.dumps({"hello": 1000}))
    with pytest.raises(UserError, match="'hello' has id 1000 in the saved tokenizer, and 24 in"):
        BertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("content", ["{", "[1]", "\x80"])
def test_broken_json_is_named(make_folder: MakeFolder, content: str) -> None:
    folder = make_folder()
    (folder / "tokenizer_config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"tokenizer_config\.json: expected"):
        BertTokenizer.from_pretrained(folder)


def test_a_folder_without_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"vocab\.txt"):
        BertTokenizer.from_pretrained(tmp_path)


def test_unknown_overrides_are_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(TypeError, match="lower_case"):
        BertTokenizer.from_pretrained(make_folder(), lower_case=True)
    with pytest.raises(ValueError, match="padding_side='top'"):
        BertTokenizer.from_pretrained(make_folder(name="other"), padding_side="top")

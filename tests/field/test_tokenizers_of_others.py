"""Tokenizers that PaddleNLP and transformers wrote, and calls as they take them, are understood."""

from __future__ import annotations

import json
from pathlib import Path

import paddle
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.auto import AutoConfig, AutoModel
from paddlenlp_ext.models.bert import BertConfig, BertModel
from paddlenlp_ext.pretraining.masking import MaskingVocabulary
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.tokenizers.bert import BertTokenizer, ElectraTokenizer
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer
from tests.tokenizers.conftest import VOCABULARY, MakeFolder, make_folder  # noqa: F401
from tests.tokenizers.spm_models import REMBERT, train

SMALL = {
    "vocab_size": 53,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
}
TEXT = "Hello, UNwantéd 博推 [MASK]!"


@pytest.mark.parametrize(
    ("settings", "config", "name"),
    [
        ({"tokenizer_class": "ErnieFastTokenizer"}, {}, "ErnieTokenizer"),
        ({"tokenizer_class": "BertFastTokenizer"}, {}, "BertTokenizer"),
        ({"tokenizer_class": "BertTokenizerFast"}, {}, "BertTokenizer"),
        ({"tokenizer_class": "ElectraTokenizerFast"}, {}, "ElectraTokenizer"),
        ({"init_class": "ConvBertTokenizer"}, {}, "ConvBertTokenizer"),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, {"model_type": "ernie"}, "ErnieTokenizer"),
    ],
)
def test_names_of_classes(make_folder: MakeFolder, settings, config, name):  # noqa: F811
    folder = make_folder(**settings)
    (folder / "config.json").write_text(json.dumps(config))
    assert type(AutoTokenizer.from_pretrained(folder)).__name__ == name


@pytest.mark.parametrize(
    "arguments",
    [
        {"use_fast": True},
        {"use_fast": False, "from_hf_hub": True},
        {"cache_dir": "/x", "subfolder": "", "revision": "main", "from_aistudio": False},
        {"trust_remote_code": False, "local_files_only": False, "token": None},
    ],
)
@pytest.mark.parametrize("loads", [AutoTokenizer, BertTokenizer], ids=["auto", "bert"])
def test_arguments_that_ask_for_what_is_done_anyway(make_folder, loads, arguments):  # noqa: F811
    folder = make_folder(tokenizer_class="BertTokenizer")
    plain = loads.from_pretrained(folder)
    made = loads.from_pretrained(folder, **arguments)
    assert made(TEXT) == plain(TEXT)
    assert loads.from_pretrained(folder, max_len=9, **arguments).model_max_length == 9
    assert not arguments.keys() & made.other_settings.keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [("token", "x"), ("revision", "v1"), ("trust_remote_code", True)],
)
def test_arguments_that_ask_for_something_else_are_one_line(make_folder, name, value):  # noqa: F811
    with pytest.raises(UserError, match=f"^{name}=.* is not offered; leave it out$"):
        BertTokenizer.from_pretrained(make_folder(), **{name: value})


def test_arguments_of_a_call(make_folder):  # noqa: F811
    tokenizer = BertTokenizer.from_pretrained(make_folder())
    wanted = tokenizer("a b", padding="max_length", max_length=9)
    made = tokenizer("a b", max_seq_len=9, pad_to_max_seq_len=True, return_dict=True, verbose=False)
    assert made == wanted
    assert tokenizer("a b", pad_to_max_seq_len=False) == tokenizer("a b")
    with pytest.raises(ValueError, match="return_dict=False is not offered"):
        tokenizer("a b", return_dict=False)


def converted(folder: Path, **normalizer: object) -> None:
    """Write a tokenizer.json as the library does, in place of the vocabulary."""
    (folder / "vocab.txt").unlink()
    content = {
        "version": "1.0",
        "added_tokens": [
            {"id": 4, "content": "[MASK]", "single_word": False, "lstrip": True, "rstrip": False,
             "normalized": False, "special": True},
            {"id": len(VOCABULARY), "content": "<e>", "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": True, "special": False},
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, **normalizer},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: number for number, token in reversed([*enumerate(VOCABULARY)])},
        },
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("chinese", [True, False])
@pytest.mark.parametrize("family", [BertTokenizer, ElectraTokenizer])
def test_a_converted_tokenizer_alone(make_folder, tmp_path, lower, chinese, family):  # noqa: F811
    wanted = family.from_pretrained(
        make_folder(), do_lower_case=lower, tokenize_chinese_chars=chinese
    )
    wanted.add_tokens("<e>")
    folder = make_folder(name="converted")
    converted(folder, lowercase=lower, handle_chinese_chars=chinese, strip_accents=None)
    made = family.from_pretrained(folder)
    made.save_pretrained(tmp_path / "saved")
    again = family.from_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved/vocab.txt").read_text("utf-8").split("\n")[:-1] == VOCABULARY
    for tokenizer in (made, again):
        assert tokenizer(f"{TEXT} <e>") == wanted(f"{TEXT} <e>")
        assert len(tokenizer) == len(wanted)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": not lower}))
    assert family.from_pretrained(folder).do_lower_case is not lower


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"type": "BPE", "vocab": {}}}, "expected WordPiece"),
        ({"model": 5}, "expected WordPiece"),
        ({"normalizer": {"type": "NFC"}}, "expected WordPiece with BERT's normalizer"),
        ({"added_tokens": [5]}, "expected WordPiece"),
        ({"added_tokens": [{"content": "x"}]}, "must have an id and a token"),
    ],
)
def test_another_converted_tokenizer_is_refused(make_folder, change, message):  # noqa: F811
    folder = make_folder()
    converted(folder, lowercase=True)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")
    with pytest.raises(UserError, match=rf"tokenizer\.json: .*{message}"):
        BertTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("do_lower_case", 1, True),
        ("do_lower_case", 0, False),
        ("strip_accents", 1, True),
        ("model_max_length", "512", 512),
        ("model_max_length", 512.0, 512),
    ],
)
def test_values_of_plain_meaning(make_folder, name, value, read):  # noqa: F811
    tokenizer = BertTokenizer.from_pretrained(make_folder(**{name: value}))
    assert getattr(tokenizer, name) == read
    assert type(getattr(tokenizer, name)) is type(read)


@pytest.mark.parametrize(
    ("name", "value"),
    [("do_lower_case", 2), ("do_lower_case", "yes"), ("model_max_length", "many")],
)
def test_values_of_no_plain_meaning_are_refused(make_folder, name, value):  # noqa: F811
    with pytest.raises(UserError, match=f"{name} must be"):
        BertTokenizer.from_pretrained(make_folder(**{name: value}))


def test_switches_of_other_versions(make_folder):  # noqa: F811
    token = {"content": "<e>", "lstrip": True, "origin": "user", "trimmed": 5}
    folder = make_folder(added_tokens_decoder={str(len(VOCABULARY)): token}, mask_token=token)
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer("a <e>", add_special_tokens=False).input_ids == [35, len(VOCABULARY)]
    assert tokenizer.mask_token == "<e>"


@pytest.mark.parametrize("family", ["bert", "rembert"])
def test_a_tokenizer_without_a_mask(make_folder, tmp_path, family):  # noqa: F811
    folder = make_folder(mask_token=None)
    train(folder / "sentencepiece.model", **REMBERT)
    loads = BertTokenizer if family == "bert" else RemBertTokenizer
    tokenizer = loads.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path / "saved")
    for made in (tokenizer, loads.from_pretrained(tmp_path / "saved")):
        assert made.mask_token is made.mask_token_id is None
        assert len(made) == made.vocab_size
        assert len(made("a b").input_ids) >= 4
        with pytest.raises(UserError, match="no `mask_token`"):
            MaskingVocabulary.of(made)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    BertModel(BertConfig(**SMALL)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        {"from_hf_hub": False, "convert_from_torch": True},
        {"dtype": "float32", "return_dict": True, "low_cpu_mem_usage": True},
        {"dtype": paddle.float32, "use_safetensors": False, "state_dict": None, "num_choices": 3},
        {"cache_dir": "/x", "subfolder": "", "ignore_mismatched_sizes": False},
    ],
)
def test_models_take_arguments_that_ask_for_what_is_done_anyway(model, arguments):
    for loads in (AutoModel, BertModel):
        made = loads.from_pretrained(model, **arguments)
        weights = BertModel.from_pretrained(model).state_dict()
        assert all((made.state_dict()[name] == weights[name]).all() for name in weights)


@pytest.mark.parametrize(
    ("name", "value"),
    [("dtype", "float16"), ("output_attentions", True), ("token", "x"), ("revision", "v1")],
)
def test_other_arguments_of_models_are_one_line(model, name, value):
    said = f"^{name}=.* is not offered; leave it out$|^{name} .* is not built here; "
    with pytest.raises(UserError, match=said):
        BertModel.from_pretrained(model, **{name: value})


def test_models_and_tokenizers_are_found_in_a_folder_of_a_folder(make_folder):  # noqa: F811
    folder = make_folder(name="inner", tokenizer_class="BertTokenizer")
    BertModel(BertConfig(**SMALL)).save_pretrained(folder)
    for loads in (AutoModel, BertModel, AutoConfig, BertConfig, AutoTokenizer, BertTokenizer):
        found = loads.from_pretrained(folder.parent, subfolder="inner", cache_dir="/x")
        assert type(found) is type(loads.from_pretrained(folder))
        with pytest.raises(UserError, match="other: there is no such folder"):
            loads.from_pretrained(folder.parent, subfolder="other")

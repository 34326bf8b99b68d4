"""AutoTokenizer: by the saved class, by the model's config, by the preset's name."""

import json

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from tests.tokenizers.conftest import MakeFolder


@pytest.mark.parametrize(
    ("saved", "config", "name"),
    [
        ({"tokenizer_class": "ConvBertTokenizer"}, {"model_type": "bert"}, "ConvBertTokenizer"),
        ({"tokenizer_class": "ElectraTokenizerFast"}, {}, "ElectraTokenizer"),
        ({"do_lower_case": False}, {"model_type": "convbert"}, "ConvBertTokenizer"),
        ({}, {"architectures": ["ErnieForTokenClassification"]}, "ErnieTokenizer"),
        ({}, {"architectures": ["BertForPretraining"]}, "BertTokenizer"),
    ],
)
def test_folders(
    make_folder: MakeFolder, saved: dict[str, object], config: dict[str, object], name: str
) -> None:
    folder = make_folder(**saved)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=9)
    assert type(tokenizer).__name__ == name
    assert tokenizer.model_max_length == 9


def test_a_preset_whose_tokenizer_is_not_here_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"^ernie-tiny: its tokenizer is ErnieTinyTokenizer, which"):
        AutoTokenizer.from_pretrained("ernie-tiny")


@pytest.mark.parametrize(
    ("saved", "config", "message"),
    [
        ({"tokenizer_class": "T5Tokenizer"}, {}, r"tokenizer_config\.json: tokenizer_class 'T5T"),
        ({}, {"model_type": "t5"}, r"config\.json: model_type 't5' is not one of bert, "),
    ],
)
def test_other_families_are_refused(
    make_folder: MakeFolder, saved: dict[str, object], config: dict[str, object], message: str
) -> None:
    folder = make_folder(**saved)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        AutoTokenizer.from_pretrained(folder)

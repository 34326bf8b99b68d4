"""Every preset has a config, a tokenizer and a place, and whoever asks for it by name finds it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models import auto
from paddlenlp_ext.presets.families import (
    FAMILIES,
    all_presets,
    family_of_class,
    family_of_preset,
    find_preset,
    presets_of,
)
from paddlenlp_ext.tokenizers.auto import CLASSES, AutoTokenizer
from paddlenlp_ext.weights.files import WEIGHT_FILES

AUTO_MODELS = [cls for cls in vars(auto).values() if isinstance(cls, type) and hasattr(cls, "task")]
NOT_HERE = {"ernie-tiny": "ErnieTinyTokenizer"}  # presets whose tokenizer we do not have
OTHERS = {"multilingual-e5-small": "XLMRobertaTokenizer"}  # whose tokenizer is another family's


@pytest.fixture
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something tried to reach the network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def refusal(cls: type, name: str) -> str:
    """What is said where the files of a preset are not to be had: one line, with its name."""
    with pytest.raises(UserError) as caught:
        cls.from_pretrained(name)  # type: ignore[attr-defined]
    said = str(caught.value)
    assert said.startswith(f"{name}: ")
    assert "\n" not in said
    return said


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("family", FAMILIES)
def test_every_preset_is_found_by_its_name(family: str) -> None:
    for name in presets_of(family):
        config = auto.AutoConfig.from_pretrained(name)
        assert config.model_type == family
        said = refusal(AutoTokenizer, name)
        if name in NOT_HERE:
            assert NOT_HERE[name] in said
        else:
            (first, *_) = CLASSES[presets_of(family)[name].tokenizer].vocab_files
            assert re.search(f"no {first}( or .*)? could be had from", said)


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("family", FAMILIES)
def test_every_class_finds_every_preset_of_its_family(family: str) -> None:
    for cls in AUTO_MODELS:
        try:
            found = auto.model_class(family, cls.task)
        except UserError:
            continue  # the family has no such class
        for name in found.presets:
            wanted = " or ".join(file for file in WEIGHT_FILES if not file.endswith("index.json"))
            assert f"no {wanted} could be had" in refusal(cls, name)


def test_names_are_given_once() -> None:
    assert sum(len(presets_of(family)) for family in FAMILIES) == len(all_presets())


def test_families_are_told_by_presets_and_classes() -> None:
    assert family_of_preset("uie-m-base") == "ernie_m"
    assert find_preset("uie-m") is None
    assert family_of_class("ErnieMForTokenClassification") == "ernie_m"
    assert family_of_class("ErnieTokenizer") == "ernie"
    assert family_of_class("T5Model") is None


def test_every_preset_has_a_protected_place() -> None:
    for name, preset in all_presets().items():
        assert preset.repository or preset.files, name
        for url in preset.files.values():
            parts = urlsplit(url)
            assert parts.scheme == "https", name
            assert parts.hostname in ("bj.bcebos.com", "paddlenlp.bj.bcebos.com"), name
        assert preset.repository is None or preset.repository.count("/") == 1, name


def test_tokenizers_of_presets() -> None:
    for name, preset in all_presets().items():
        family = family_of_preset(name)
        assert family is not None
        exceptions = NOT_HERE | OTHERS
        assert preset.tokenizer == exceptions.get(name, FAMILIES[family].tokenizer)
        assert preset.settings["model_max_length"] >= 512
    cased = {
        name
        for name, preset in all_presets().items()
        if preset.settings.get("do_lower_case") is False
    }
    assert cased == {
        *("bert-base-cased", "bert-large-cased", "bert-base-multilingual-cased"),
        *("bert-base-chinese", "bert-wwm-chinese", "bert-wwm-ext-chinese"),
        *("macbert-base-chinese", "macbert-large-chinese"),
    }


def test_finding_presets_imports_nothing_slow() -> None:
    code = (
        "import sys; from paddlenlp_ext.presets.families import all_presets; all_presets();"
        "print({'paddle', 'tokenizers', 'huggingface_hub', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

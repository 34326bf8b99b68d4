"""Where the files of each preset lie: one row a preset.

Repositories are those of the Hugging Face Hub, addresses those of PaddleNLP 2.8.1, over https.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

WEIGHTS = "model_state.pdparams"
VOCABULARY = "vocab.txt"


@dataclass(frozen=True)
class Hosted:
    """Where one preset lies.

    Attributes:
        repository: On the Hugging Face Hub; none if only Paddle has the preset.
        files: On Paddle's own hosting: name of a file in a model's folder to its address.
    """

    repository: str | None
    files: Mapping[str, str] = field(default_factory=dict)


def _files(weights: str, vocabulary: str) -> dict[str, str]:
    return {WEIGHTS: weights, VOCABULARY: vocabulary}


_M = "https://bj.bcebos.com/paddlenlp/models/transformers/"
_N = "https://paddlenlp.bj.bcebos.com/models/transformers/"  # where newer models are
_V = "https://bj.bcebos.com/paddle-hapi/models/bert/"

_BERT = {
    name: Hosted(f"google-bert/{name}", _files(f"{_M}{weights}", f"{_V}{name}-vocab.txt"))
    for name, weights in {
        "bert-base-uncased": "bert-base-uncased.pdparams",
        "bert-large-uncased": "bert-large-uncased.pdparams",
        "bert-base-multilingual-uncased": "bert-base-multilingual-uncased.pdparams",
        "bert-base-cased": "bert/bert-base-cased.pdparams",
        "bert-large-cased": "bert/bert-large-cased.pdparams",
        "bert-base-multilingual-cased": "bert/bert-base-multilingual-cased.pdparams",
        "bert-base-chinese": "bert/bert-base-chinese.pdparams",
    }.items()
}

_CHINESE_BERT = {
    "bert-wwm-chinese": Hosted(
        "hfl/chinese-bert-wwm",
        _files(f"{_M}bert/bert-wwm-chinese.pdparams", f"{_M}bert/bert-wwm-chinese-vocab.txt"),
    ),
    "bert-wwm-ext-chinese": Hosted(
        "hfl/chinese-bert-wwm-ext",
        _files(
            f"{_M}bert/bert-wwm-ext-chinese.pdparams", f"{_M}bert/bert-wwm-ext-chinese-vocab.txt"
        ),
    ),
    "macbert-base-chinese": Hosted(
        "hfl/chinese-macbert-base",
        _files(f"{_M}macbert/macbert-base-chinese.pdparams", f"{_V}bert-base-chinese-vocab.txt"),
    ),
    "macbert-large-chinese": Hosted(
        "hfl/chinese-macbert-large",
        _files(f"{_M}macbert/macbert-large-chinese.pdparams", f"{_V}bert-base-chinese-vocab.txt"),
    ),
    "simbert-base-chinese": Hosted(
        None, _files(f"{_M}simbert/simbert-base-chinese-v1.pdparams", f"{_M}simbert/vocab.txt")
    ),
} | {
    f"uer/chinese-roberta-{size}": Hosted(
        f"uer/chinese_roberta_{shape}",
        _files(
            f"{_M}uer/chinese_roberta_{size.replace('-', '_')}.pdparams",
            f"{_M}uer/chinese_roberta_vocab.txt",
        ),
    )
    for size, shape in {
        "base": "L-12_H-768",
        "medium": "L-8_H-512",
        "6l-768h": "L-6_H-768",
        "small": "L-4_H-512",
        "mini": "L-4_H-256",
        "tiny": "L-2_H-128",
    }.items()
}

_ELECTRA = {
    **{
        f"electra-{size}{role}": Hosted(
            f"google/electra-{size}-discriminator",
            _files(f"{_M}electra/electra-{size}.pdparams", f"{_M}electra/electra-{size}-vocab.txt"),
        )
        for size in ("small", "base", "large")
        for role in ("", "-discriminator")
    },
    **{  # Paddle has no generators
        f"electra-{size}-generator": Hosted(f"google/electra-{size}-generator")
        for size in ("small", "base", "large")
    },
    **{
        name: Hosted(None, _files(f"{_M}{name}/{name}.pdparams", f"{_M}{name}/vocab.txt"))
        for name in ("chinese-electra-small", "chinese-electra-base")
    },
}

_CONVBERT = {
    **{
        f"convbert-{size}": Hosted(
            f"YituTech/conv-bert-{size}",
            _files(
                f"{_M}convbert/convbert-{size}/model_state.pdparams",
                f"{_M}convbert/convbert-{size}/vocab.txt",
            ),
        )
        for size in ("base", "medium-small", "small")
    },
    **{  # names of sizes to begin a pretraining with: nobody has weights
        f"convbert-{size}-{role}": Hosted(
            None, {VOCABULARY: f"{_M}convbert/convbert-{size}/vocab.txt"}
        )
        for size in ("base", "medium-small", "small")
        for role in ("generator", "discriminator")
    },
}

_REMBERT = {
    "rembert": Hosted(
        "google/rembert",
        {
            WEIGHTS: f"{_M}rembert/model_state.pdparams",
            "sentencepiece.model": f"{_M}rembert/sentencepiece.model",
        },
    ),
}

_ERNIE_M = {
    name: Hosted(
        repository,
        {
            **_files(f"{_N}{weights}.pdparams", f"{_M}ernie_m/ernie_m.vocab.txt"),
            "sentencepiece.bpe.model": f"{_M}ernie_m/ernie_m.sentencepiece.bpe.model",
        },
    )
    for name, repository, weights in (
        ("ernie-m-base", "susnato/ernie-m-base_pytorch", "ernie_m/ernie_m_base"),
        ("ernie-m-large", "susnato/ernie-m-large_pytorch", "ernie_m/ernie_m_large"),
        ("uie-m-base", None, "uie_m/uie_m_base"),
        ("uie-m-large", None, "uie_m/uie_m_large"),
    )
}

_ERNIE = {
    name: Hosted(repository, _files(f"{_M}{weights}.pdparams", f"{_M}{vocabulary}.txt"))
    for name, (repository, weights, vocabulary) in {
        "ernie-1.0": ("nghuyong/ernie-1.0-base-zh", "ernie/ernie_v1_chn_base", "ernie/vocab"),
        "ernie-1.0-base-zh": (
            "nghuyong/ernie-1.0-base-zh",
            "ernie/ernie_v1_chn_base",
            "ernie/vocab",
        ),
        "ernie-1.0-base-zh-cw": (
            None,
            "ernie/ernie_1.0_base_zh_cw",
            "ernie/ernie_1.0_base_zh_cw_vocab",
        ),
        "ernie-1.0-large-zh-cw": (None, "ernie/ernie_1.0_large_zh_cw", "ernie/vocab"),
        "ernie-tiny": (None, "ernie_tiny/ernie_tiny", "ernie_tiny/vocab"),
        "ernie-2.0-base-zh": (
            None,
            "ernie_2.0/ernie_2.0_base_zh",
            "ernie_2.0/ernie_2.0_base_zh_vocab",
        ),
        "ernie-2.0-large-zh": (
            None,
            "ernie_2.0/ernie_2.0_large_zh",
            "ernie_2.0/ernie_2.0_large_zh_vocab",
        ),
        "ernie-2.0-base-en": (
            "nghuyong/ernie-2.0-base-en",
            "ernie_v2_base/ernie_v2_eng_base",
            "ernie_v2_base/vocab",
        ),
        "ernie-2.0-base-en-finetuned-squad": (
            None,
            "ernie_v2_base/ernie_v2_eng_base_finetuned_squad",
            "ernie_v2_base/vocab",
        ),
        "ernie-2.0-large-en": (
            "nghuyong/ernie-2.0-large-en",
            "ernie_v2_large/ernie_v2_eng_large",
            "ernie_v2_large/vocab",
        ),
    }.items()
}

_ERNIE_3 = {
    **{
        f"ernie-3.0-{name}-zh": Hosted(
            f"nghuyong/ernie-3.0-{size}-zh",
            _files(
                f"{_M}ernie_3.0/ernie_3.0_{size}_zh.pdparams",
                f"{_M}ernie_3.0/ernie_3.0_{size}_zh_vocab.txt",
            ),
        )
        for size in ("base", "xbase", "medium", "mini", "micro", "nano")
        for name in (size, f"tiny-{size}-v1")  # the same files under two names
        if name != "tiny-xbase-v1"
    },
    **{
        f"ernie-3.0-tiny-{size}-v2-zh": Hosted(
            None,
            _files(
                f"{_M}ernie_3.0/ernie_3.0_tiny_{size}_v2.pdparams",
                f"{_M}ernie_3.0/ernie_3.0_tiny_{size}_v2_vocab.txt",
            ),
        )
        for size in ("base", "medium", "mini", "micro", "nano", "pico")
    },
}

_UIE = {
    f"uie-{name}": Hosted(
        None,
        _files(
            f"{_N if name == 'senta-base' else _M}uie/uie_{name.replace('-', '_')}.pdparams",
            f"{_M}ernie_3.0/ernie_3.0_{size}_zh_vocab.txt",
        ),
    )
    for size in ("base", "medium", "mini", "micro", "nano")
    for name in (
        size,
        f"senta-{size}",
        *(("base-answer-extractor", "base-qa-filter") if size == "base" else ()),
    )
} | {
    "uie-base-en": Hosted(
        None, _files(f"{_M}uie/uie_base_en.pdparams", f"{_M}ernie_v2_base/vocab.txt")
    )
}

HOSTED: Mapping[str, Hosted] = {
    **_BERT,
    **_CHINESE_BERT,
    **_REMBERT,
    **_CONVBERT,
    **_ERNIE_M,
    **_ELECTRA,
    **_ERNIE,
    **_ERNIE_3,
    **_UIE,
}

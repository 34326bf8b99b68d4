"""Small new models and vocabularies in place of those that PaddleNLP's tests load from a hub."""

from __future__ import annotations

import io
from pathlib import Path
from string import ascii_lowercase

import sentencepiece

ROOT = Path(__file__).absolute().parents[1]
PIECES = {"pad": "[PAD]", "unk": "[UNK]", "bos": "[CLS]", "eos": "[SEP]"}  # of RemBERT
LETTERS = [*ascii_lowercase, *",.-的人有"]
PARTS = [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
WORDS = [*PARTS, "naive", "allen", "##nl", "sentence"]  # of the tests' text, as BERT's
WORDS_OF_ERNIE = [*PARTS, "na", "##ive", "allen", "##lp", "se", "##nt", "##ence"]


def keep_models(folder: Path) -> None:
    """Put models, with new weights, where transformers finds those that the tests load from a hub.

    Args:
        folder: Will be `HF_HOME`.
    """
    import transformers  # only if it is there

    sizes = {"vocab_size": 1124, "hidden_size": 32, "num_hidden_layers": 5, "intermediate_size": 37}
    for family in ("Bert", "Electra"):
        config = getattr(transformers, f"{family}Config")(**sizes, num_attention_heads=4)
        kept = folder / f"hub/models--hf-internal-testing--tiny-random-{family}Model"
        (kept / "refs").mkdir(parents=True)
        (kept / "refs/main").write_text("new")
        getattr(transformers, f"{family}Model")(config).save_pretrained(kept / "snapshots/new")


def keep_tokenizers(folder: Path) -> None:
    """Put small vocabularies where the presets that tests load are looked for.

    Args:
        folder: Will be `PADDLENLP_EXT_HOME`.
    """
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    lines += [" ".join(ascii_lowercase)] * 100  # tests have words of one letter
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=trained,
        vocab_size=1000,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
        **{f"{role}_id": number for number, role in enumerate(("pad", "unk", "bos", "eos"))},
        **{f"{role}_piece": piece for role, piece in PIECES.items()},
        control_symbols=["[MASK]"],
    )
    model = trained.getvalue()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    unused = [f"[unused{number}]" for number in range(99)]
    files: dict[str, bytes | list[str]] = {
        **{
            f"{name}/vocab.txt": ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
            for name in ("bert-base-uncased", "convbert-base", "electra-small")
        },
        "ernie-1.0/vocab.txt": ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *WORDS_OF_ERNIE],
        "ernie-m-base/vocab.txt": [
            *("[CLS]", "[PAD]", "[SEP]", "[UNK]"),
            *(pieces.id_to_piece(number) for number in range(5, len(pieces))),
            "[MASK]",
        ],
        "ernie-m-base/sentencepiece.bpe.model": model,
        "rembert/sentencepiece.model": model,
    }
    for name, content in files.items():
        file = folder / "models" / name
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if isinstance(content, list):
            content = ("\n".join(content) + "\n").encode()
        file.write_bytes(content)

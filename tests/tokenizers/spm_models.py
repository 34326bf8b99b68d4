"""Small sentencepiece models, trained on the spot; the same every time."""

from pathlib import Path
from typing import Any

import sentencepiece

SENTENCES = [
    "This is a test of the tokenizer, and it is falsé.",
    "I was born in 92000, and this is what the cat said.",
    "The quick brown fox jumps over the lazy dog; it was quick!",
    "In the sky up above the world so high, a room with a view.",
    "他说清水寺在京都。我们的狐狸跳过了懒狗！",
    "Быстрая лиса прыгает через ленивую собаку.",
    "Καλημέρα κόσμε, τι κάνεις σήμερα;",
    "สวัสดีชาวโลก",
    "안녕하세요 세계, 오늘은 어때요?",
]
REMBERT = {
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": 2,
    "eos_id": 3,
    "pad_piece": "[PAD]",
    "unk_piece": "[UNK]",
    "bos_piece": "[CLS]",
    "eos_piece": "[SEP]",
    "control_symbols": ["[MASK]"],
}


def train(path: Path, **options: Any) -> Path:
    """Train a model of a few hundred pieces and write it."""
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES * 20),
            model_writer=file,
            **{
                "vocab_size": 260,
                "hard_vocab_limit": False,
                "normalization_rule_name": "nmt_nfkc",
                "character_coverage": 0.98,  # leaves some characters unknown
                "num_threads": 1,
                "minloglevel": 2,
                **options,
            },
        )
    return path


def ernie_m_folder(folder: Path, **options: Any) -> Path:
    """Write an ERNIE-M tokenizer: its vocabulary has another order than its model."""
    folder.mkdir(exist_ok=True)
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(train(folder / "sentencepiece.bpe.model", **options))
    )
    pieces = [model.id_to_piece(number) for number in range(3, model.get_piece_size())]
    # What the post-split makes of pieces must be in the vocabulary too.
    letters = sorted({letter for piece in pieces for letter in piece} - set(pieces))
    lines = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *reversed(pieces), *letters, "[MASK]"]
    (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return folder

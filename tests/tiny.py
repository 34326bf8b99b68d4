"""Tiny models with odd, unequal sizes: a forgotten transpose or a swapped axis cannot pass.

B=3, L=7, H=24, A=4 (D=6), F=37, V=53.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

B, L, V, TYPES, CHOICES = 3, 7, 53, 3, 5

SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
}
# What a family has besides; a family's test module takes its row from here.
FAMILY_SIZES: dict[str, dict[str, Any]] = {
    "bert": {"type_vocab_size": TYPES},
    "rembert": {"type_vocab_size": TYPES, "input_embedding_size": 11, "output_embedding_size": 31},
    "ernie_m": {"pad_token_id": 1},
    "convbert": {"type_vocab_size": TYPES, "embedding_size": 11, "conv_kernel_size": 3},
    "electra": {"type_vocab_size": TYPES, "embedding_size": 11},
    "ernie": {"type_vocab_size": TYPES, "task_type_vocab_size": 5, "use_task_id": True},
    "xlm-roberta": {"type_vocab_size": TYPES, "pad_token_id": 1},
}


def arrays(seed: int = 3, *, batch: int = B, length: int = L, pad: int = 0) -> dict[str, Any]:
    """A batch of ids with padding at the end of all rows but the first; numpy int64 [B, L]."""
    random = np.random.default_rng(seed)
    ids = random.integers(2, V, (batch, length))
    mask = np.ones_like(ids)
    for row in range(1, batch):
        mask[row, length - row - 1 :] = 0
    return {
        "input_ids": np.where(mask == 1, ids, pad),
        "token_type_ids": random.integers(0, TYPES, (batch, length)),
        "attention_mask": mask,
    }


def square_mask(seed: int = 5, *, batch: int = B, length: int = L) -> np.ndarray:
    """A mask with a row for each asking token, which always sees itself; int64 [B, L, L]."""
    random = np.random.default_rng(seed)
    return random.integers(0, 2, (batch, length, length)) | np.eye(length, dtype="int64")


def tensors(batch: dict[str, Any]) -> dict[str, paddle.Tensor]:
    """The same batch for Paddle."""
    return {name: paddle.to_tensor(value) for name, value in batch.items()}

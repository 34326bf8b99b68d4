"""What the configs of both libraries take beside a model's sizes, and what of it is built here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import NoneType
from typing import Any

import paddle

from paddlenlp_ext.errors import UserError, shown

# Other names that checkpoints and callers have for a field of ours.
FIELD_ALIASES = {"num_classes": "num_labels", "dropout": "classifier_dropout"}

# What changes no number of a model: kept for whoever asks the config, with the value if there is
# none, and the types of others.
KEPT: Mapping[str, tuple[Any, tuple[type, ...]]] = {
    **dict.fromkeys(
        (
            "bos_token_id",
            "eos_token_id",
            "cls_token_id",
            "sep_token_id",
            "mask_token_id",
            "unk_token_id",
            "decoder_start_token_id",
            "num_choices",  # a model takes as many as the inputs have
        ),
        (None, (int, NoneType)),
    ),
    **dict.fromkeys(
        ("use_cache", "fuse", "use_flash_attention", "recompute_use_reentrant"), (False, (bool,))
    ),
    "chunk_size_feed_forward": (0, (int,)),
    **dict.fromkeys(("tokenizer_class", "prefix", "finetuning_task"), (None, (str, NoneType))),
    "task_specific_params": (None, (Mapping, NoneType)),
    "return_dict": (True, (bool, NoneType)),
}
# How a model is computed and what it answers, not what it is: read from no file, and in none. What
# transformers' files say of `use_cache` would have PaddleNLP's encoders answer otherwise.
OF_CALLS = (
    "return_dict",
    "use_cache",
    "fuse",
    "use_flash_attention",
    "recompute_use_reentrant",
    "chunk_size_feed_forward",
)
# What would change a model, or the form of its answer: the values that are built here, the first
# one of whoever does not say.
FIXED: Mapping[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute", None),
    "is_encoder_decoder": (False, None),
    "cross_attention_hidden_size": (None,),
    "pruned_heads": ({}, None),
    "tie_encoder_decoder": (False, None),
    "gradient_checkpointing": (False, None),
    "torchscript": (False, None),
    "quantization_config": (None, {}),
    "dtype": ("float32", paddle.float32, None),
    "torch_dtype": ("float32", paddle.float32, None),
    "tensor_parallel_degree": (-1, 0, 1),
    "tensor_parallel_rank": (0,),
    "tensor_parallel_output": (False,),
    "sep_parallel_degree": (-1, 0, 1),
    "output_hidden_states": (False, None),
    "output_attentions": (False, None),
}
# Those of them that a file may not ask for either; others say nothing of its weights.
REFUSED = (
    "position_embedding_type",
    "is_encoder_decoder",
    "cross_attention_hidden_size",
    "pruned_heads",
)
CURES = {
    "dtype": "`compute_in()` computes in another type",
    "torch_dtype": "`compute_in()` computes in another type",
    "gradient_checkpointing": "call `enable_recompute()` of the model",
    **dict.fromkeys(
        ("output_hidden_states", "output_attentions"), "give it to each call of the model"
    ),
}
# Fields of files that say nothing of a model.
FORGOTTEN = frozenset(
    {
        "architectures",
        "attn_implementation",
        "model_type",
        "name_or_path",
        "_name_or_path",
        "paddlenlp_version",
        "transformers_version",
    }
)


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of fields under our names."""
    return {FIELD_ALIASES.get(name, name): value for name, value in values.items()}


def is_kept(name: str, value: Any) -> bool:
    """Return whether a value is one that a config keeps; ids from -1, which is no token, on."""
    if name not in KEPT:
        return False
    types = KEPT[name][1]
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) and not (isinstance(value, int) and value < -1)


def others_of(
    family: str, keywords: Mapping[str, Any], unread: Collection[str] = ()
) -> dict[str, Any]:
    """Take keywords that are no fields of a config; return those to keep.

    Args:
        family: Name of the config's class, for messages.
        keywords: What is left beside the fields.
        unread: Fields of other families that this one has no use for.

    Raises:
        UserError: One would change the model's numbers or answers, or nobody knows it.
    """
    unknown = keywords.keys() - {*KEPT, *FIXED, *FORGOTTEN, *unread}
    if unknown:
        raise UserError(f"{family} has no field {', '.join(sorted(unknown))}")
    for name, value in keywords.items():
        if name in FIXED and value not in FIXED[name]:
            cure = f"; {CURES[name]}" if name in CURES else ""
            raise UserError(f"{name} {shown(value)} is not built here{cure}")
        if name in KEPT and not is_kept(name, value):
            wanted = KEPT[name][1][0].__name__
            raise UserError(f"{name} must be of type {wanted}, not {shown(value)}")
    return {name: value for name, value in keywords.items() if name in KEPT}

"""Say what to do when memory runs out: Paddle's own message names allocations, not settings."""

from collections.abc import Iterator
from contextlib import contextmanager

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tasks.batches import Batch


class OutOfMemoryError(UserError):
    """The memory of the machine or of its device does not suffice; weights are as they were."""


@contextmanager
def memory_explained(batch: Batch, when: str, *, is_training: bool) -> Iterator[None]:
    """Turn a `MemoryError` of the computations inside into one that says what to lower.

    Args:
        batch: What is computed with.
        when: The moment, for the message ("step 7").
        is_training: Whether there is a backward pass, which other settings make cheaper.

    Raises:
        OutOfMemoryError: Instead of `MemoryError`.
    """
    try:
        yield
    except MemoryError as error:
        rows, length = batch["input_ids"].shape
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cure = "lower `eval_batch_size`, or lower `max_seq_length`"
        if is_training:
            cure = (
                "lower `batch_size` (`gradient_accumulation_steps` makes up for it), lower "
                "`max_seq_length`, or set `recompute`"
            )
        raise OutOfMemoryError(
            f"{when}: out of memory with a batch of {rows} rows of {length} tokens "
            f"({lines[-1] if lines else 'no detail given'}); {cure}; checkpoints saved before "
            "are whole"
        ) from error

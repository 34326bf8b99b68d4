"""Print where the time of a training step goes, operation by operation.

    python -m benchmarks.profile_step convbert-small

New weights, full batches of random tokens, dropout on; the first steps are not counted.
"""

from __future__ import annotations

import argparse

from benchmarks.shapes import SHAPES
from paddlenlp_ext.process import runtime

WARM_UP, STEPS = 2, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    args = parser.parse_args()
    runtime.tune()
    runtime.import_paddle()
    import paddle
    from paddle import profiler

    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.training.optimization import adamw

    shape = SHAPES[args.shape]
    cls = model_class(shape.family, "ForSequenceClassification")
    config = cls.presets[shape.preset] if shape.preset else cls.config_class()
    model = cls(config.replace(**shape.sizes))
    model.train()
    optimizer = adamw(model, 1e-5, max_grad_norm=1.0)
    ids = paddle.randint(5, model.config.vocab_size, [args.batch_size, args.length])
    labels = paddle.arange(args.batch_size) % 2

    def steps(count: int) -> None:
        for _ in range(count):
            model(input_ids=ids, labels=labels).loss.backward()
            optimizer.step()
            optimizer.clear_grad(set_to_zero=False)

    steps(WARM_UP)
    runtime.keep_large_blocks()  # as the training loop says
    steps(1)
    nothing_written = {"on_trace_ready": lambda found: None}
    with profiler.Profiler(targets=[profiler.ProfilerTarget.CPU], **nothing_written) as found:
        steps(STEPS)
    print(f"{args.shape}, {args.batch_size} x {args.length}: {STEPS} steps")
    found.summary(sorted_by=profiler.SortedKeys.CPUTotal, thread_sep=False, time_unit="ms")


if __name__ == "__main__":
    main()

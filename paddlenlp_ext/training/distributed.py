"""Several processes: start them, ask who one is, and bring their numbers together.

Paddle's launcher (`python -m paddle.distributed.launch --nproc_per_node N script.py`) starts the
processes, or `spawn` does; without either there is one. Paddle takes gloo on a CPU, NCCL on GPUs
and BKCL on XPUs by itself.
"""

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor
from paddle import distributed as dist

from paddlenlp_ext import cli
from paddlenlp_ext.errors import DeviceError
from paddlenlp_ext.process import launcher, runtime
from paddlenlp_ext.process.signals import ENDING

Item = TypeVar("Item")

BUCKET = 1 << 24  # elements that are reduced together: 64 MB of float32
ENDED = (0, 128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes of what was asked to end
GRACE = 30  # seconds that processes have to end after another failed, as under Paddle's launcher


def start(device: str, *, flag: str = "--device") -> None:
    """Choose the device, and join the other processes where a launcher started several.

    Args:
        device: "cpu", "gpu", "xpu" or "npu", or one of several: "gpu:1".
        flag: What the user chose it with, for the message.

    Raises:
        DeviceError: This machine, or this build of PaddlePaddle, does not have the device.
        LostProcessError: One of the launcher's processes has ended before all had met.
    """
    check_device(device, flag=flag)
    paddle.set_device(device)
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1:
        with launcher.joining():
            dist.init_parallel_env()


def check_device(device: str, *, flag: str = "--device") -> None:
    """Refuse a device that is not there.

    Raises:
        DeviceError: With what is missing and what to do.
    """
    kind = device.partition(":")[0]
    built = {
        "cpu": True,
        "gpu": paddle.is_compiled_with_cuda(),
        "xpu": paddle.is_compiled_with_xpu(),
        "npu": "npu" in paddle.device.get_all_custom_device_type(),
    }
    if kind not in built:
        raise DeviceError(f"{flag} {device}: unknown device; known are {', '.join(built)}")
    if not built[kind]:
        own = "CPU" if not paddle.is_compiled_with_cuda() else "GPU"
        raise DeviceError(
            f"{flag} {device}: this PaddlePaddle is a {own} build; install the one for "
            f"{kind.upper()}, or give {flag} {own.lower()}"
        )
    if kind == "gpu" and paddle.device.cuda.device_count() == 0:
        raise DeviceError(f"{flag} {device}: PaddlePaddle finds no GPU; give {flag} cpu")


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(dist.get_rank())


def world_size() -> int:
    """Return the number of processes."""
    return int(dist.get_world_size())


def seed_everything(seed: int, step: int = 0, rank: int = 0) -> None:
    """Seed Paddle, NumPy and Python from what the moment is, not from what came before it.

    Called before every update, it makes a resumed run draw what the uninterrupted one drew, with
    no random state to save.
    """
    mixed = int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])
    paddle.seed(mixed)
    np.random.seed(mixed)
    random.seed(mixed)


def all_reduce(values: Sequence[float], operation: Literal["sum", "max"] = "sum") -> list[float]:
    """Bring a few numbers of all processes together, in float64."""
    if world_size() == 1:
        return [float(value) for value in values]
    tensor = paddle.to_tensor(np.asarray(values, np.float64))
    dist.all_reduce(tensor, op=dist.ReduceOp.SUM if operation == "sum" else dist.ReduceOp.MAX)
    return [float(value) for value in tensor.numpy()]


def gather(item: Item) -> list[Item]:
    """Give every process the items of all, in the order of their ranks."""
    if world_size() == 1:
        return [item]
    items: list[Item] = []
    dist.all_gather_object(items, item)
    return items


def gather_rows(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Join the rows of all processes, in the order of their ranks.

    Args:
        array: Any number of rows, also none; [N, ...].
    """
    return np.concatenate([part for part in gather(array) if len(part)] or [array])


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        dist.barrier()


def reduce_gradients(parameters: Sequence[Tensor], has_gradient: Sequence[bool]) -> None:
    """Sum the gradients of all processes, in place.

    A process whose share of a batch is empty has no gradients, and takes part with zeros. The sum
    is taken in float32 whatever the gradients are. Paddle's DataParallel is not used: it averages,
    which is wrong where counts of labels differ, and waits forever for an empty share.

    Args:
        parameters: The same on all processes.
        has_gradient: Whether any process has a gradient of each.
    """
    if world_size() == 1:
        return
    taking_part = [p for p, has in zip(parameters, has_gradient, strict=True) if has]
    for bucket in _buckets(taking_part):
        gradients = [paddle.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        flat = paddle.concat([g.reshape([-1]).astype("float32") for g in gradients])
        dist.all_reduce(flat)
        parts = paddle.split(flat, [_size(p) for p in bucket])
        for parameter, gradient, part in zip(bucket, gradients, parts, strict=True):
            parameter.grad = part.reshape(parameter.shape).astype(gradient.dtype)


def _buckets(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    room = 0
    for parameter in parameters:
        if _size(parameter) > room:
            buckets.append([])
            room = BUCKET
        buckets[-1].append(parameter)
        room -= _size(parameter)
    return buckets


def _size(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape))


def spawn(main: Callable[..., object], processes: int, *args: object, device: str = "gpu") -> None:
    """Run a function in several processes, one a device, and end as they ended.

    A signal to this process goes on to all of them. When one fails, the others, which would wait
    for it, are terminated, and the run ends with its exit code.

    Args:
        main: A function at the top level of a module; it calls `start`.
        processes: How many; 1 calls `main` here.
        args: What `main` is called with.
        device: What each process will use; on a CPU they share its cores.

    Raises:
        DeviceError: There are fewer devices.
    """
    if processes == 1:
        main(*args)
        return
    kind = device.partition(":")[0]
    check_device(kind)
    if kind == "gpu" and (found := paddle.device.cuda.device_count()) < processes:
        raise DeviceError(f"{processes} processes need {processes} GPUs, and {found} are visible")
    runtime.share_threads(processes)
    options = {"backend": "gloo"} if kind == "cpu" else {}
    begin = partial(dist.spawn, _child, (main, args), nprocs=processes, join=False, **options)
    if code := _run(begin):
        sys.exit(code)


def _child(main: Callable[..., object], args: tuple[object, ...]) -> None:
    try:
        cli.run(lambda: main(*args))
    except Exception:  # Paddle would put it into a queue that nobody reads
        traceback.print_exc()
        sys.exit(1)


def _run(begin: Callable[[], Any]) -> int:
    """Start processes, wait for them and pass signals on; return the exit code of the run."""
    received = 0
    children: Sequence[Any] = ()

    def end(number: int, frame: FrameType | None = None) -> None:
        nonlocal received
        received = number
        _send(children, signal.SIGTERM)  # of Ctrl-C they got their own, and two end them at once

    previous = [signal.signal(number, end) for number in ENDING]
    context = begin()  # holds what the processes need
    children = context.processes
    if received:  # before there was anyone to pass it on to
        _send(children, signal.SIGTERM)
    failed = 0
    deadline = float("inf")
    while any(child.is_alive() for child in children):
        for child in children:
            child.join(0.05)
            if child.exitcode and not failed:
                failed = child.exitcode
                if failed < 0 and not received:  # it could not say so itself
                    name = signal.Signals(-failed).name
                    print(f"error: a process of this run was ended by {name}", file=sys.stderr)
                deadline = time.monotonic() + GRACE
                _send(children, signal.SIGTERM)
        if time.monotonic() > deadline:
            _send(children, signal.SIGKILL)
    for number, handler in zip(ENDING, previous, strict=True):
        signal.signal(number, handler or signal.SIG_DFL)
    failed = failed or next((child.exitcode for child in children if child.exitcode), 0)
    code = failed if failed >= 0 else 128 - failed  # negative: ended by a signal
    return 128 + received if received and code in ENDED else code


def _send(children: Sequence[Any], number: int) -> None:
    for child in children:
        if child.is_alive():
            os.kill(child.pid, number)

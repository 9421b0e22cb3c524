"""Mutated files: each is read, or refused by a `UserError`, in bounded time and memory.

What can be read is also used, as a resumed run uses it.
"""

import gzip
import json
import random
import resource
import shlex
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fault_campaign.commands import QUICK, Row, described, finish, start

from lenet_multi.comparison.folder import COMPARISON, stored_plan
from lenet_multi.data import load_dataset
from lenet_multi.data.idx import FILE_NAMES
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint
from lenet_multi.runs.outputs import history, summary, title
from lenet_multi.runs.weights import architecture_of, load_weights, save_weights
from lenet_multi.training.curves import draw_curves, png

SECONDS = 30  # that reading one file may take
MEMORY = 300 * 2**20  # bytes that reading one file may add
DRAWN = 21  # one in so many checkpoints is drawn if it can be read, which is slow; odd, for both kinds of mutations
NUMBERS = [0, 1, -1, 255, 256, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 10**30, 10**5000, 1e308, float("nan"), float("inf")]
COUNTS = [0, 1, 27, 28, 500, 2049, 2051, 2**31, 2**32 - 2]  # of an IDX header, and its magic numbers
TEXTS = ["", "\0", "\x1b[31m", "$x^$", "../..", "é\u202e", "a" * 100_000, "help", "-1", "auto"]
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Kind:
    """A kind of file to mutate.

    Args:
        what: the kind in words.
        folder: holds the file, and whatever is read with it.
        name: of the file.
        read: reads the file in a folder and uses what it holds; its second argument is the number of the mutation.
        repaired: a mutation with lengths and checksums that are right.
    """

    what: str
    folder: Path
    name: str
    read: Callable[[Path, int], object]
    repaired: Callable[[bytes, random.Random], bytes]


def mutated_files(count: int, data: Path, folder: Path, seed: int, jobs: int) -> Iterator[Row]:
    """A row for each kind of file: `count` mutations, half of them with lengths and checksums made right again."""
    zipped, run, compared = folder / "files-zipped", folder / "files-run", folder / "files-compared"
    shutil.copytree(data, zipped)
    for which in ("train images", "test labels"):
        path = zipped / FILE_NAMES[which]
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), compresslevel=1, mtime=0))
        path.unlink()
    prepared = Row("a run and a comparison to mutate")
    options = ["--dataset", str(data), "--epochs", "1", *QUICK]
    prepared.note(finish(start("train", *options, "--out", run)))
    prepared.note(finish(start("compare", *options, "--backends", "torch", "--vary", "seed=0,1", "--out", compared)))
    yield prepared
    save_weights(run / WEIGHTS, load_checkpoint(run)[1], {})
    images, labels = FILE_NAMES["test images"], f"{FILE_NAMES['test labels']}.gz"
    for kind in (
        Kind("checkpoints", run, CHECKPOINT, use_checkpoint, mutate_safetensors),
        Kind("weights files without a run", run, WEIGHTS, use_weights, mutate_safetensors),
        Kind("files of images", data, images, use_data, mutate_idx),
        Kind("files of images, gzipped", zipped, f"{FILE_NAMES['train images']}.gz", use_data, mutate_idx),
        Kind("files of labels, gzipped", zipped, labels, use_data, mutate_idx),
        Kind(f"{COMPARISON} files", compared, COMPARISON, use_comparison, mutate_json),
    ):
        yield mutated(kind, count, seed, jobs)


def mutated(kind: Kind, count: int, seed: int, jobs: int) -> Row:
    """A row of mutations, in `jobs` processes: limits are those of a process, and alarms go to its main thread."""
    row = Row(f"mutated {kind.what}", count)
    parts = [range(count * job // jobs, count * (job + 1) // jobs) for job in range(jobs)]
    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        for part in [pool.submit(part_of, kind, numbers, seed) for numbers in parts]:
            try:
                row.faults += part.result()
            except Exception as problem:  # a mutation has ended the process
                row.faults.append(f"{kind.what}: {described(problem)}")
    return row


def part_of(kind: Kind, numbers: range, seed: int) -> list[str]:
    """Read some of the mutations of a file, in a copy of its folder; the faults."""
    folder = kind.folder.with_name(f"{kind.folder.name}-{kind.name}-{numbers.start}")
    shutil.copytree(kind.folder, folder)
    original = (folder / kind.name).read_bytes()
    kind.read(folder, 0)  # what it imports and keeps is not counted below
    faults = []
    for number in numbers:
        rng = random.Random(f"{seed} {kind.what} {number}")
        mutated = kind.repaired(original, rng) if number % 2 else mutate_bytes(original, rng)
        (folder / kind.name).write_bytes(mutated)
        faults += [f"{kind.what} {number}: {fault}" for fault in faults_of(partial(kind.read, folder, number))]
    shutil.rmtree(folder)
    return faults


def use_checkpoint(folder: Path, number: int) -> None:
    """What a resumed run reads, and the files that it writes."""
    run, parameters = load_checkpoint(folder)
    architecture_of(folder / CHECKPOINT, parameters, {"architecture": run.architecture.to_dict()}, None)
    if run.segments:
        history(run).encode()
        json.dumps(summary(run)).encode()
        if number % DRAWN == 0:
            png(draw_curves(run.points, run.epochs_done, title(run)))


def use_weights(folder: Path, _: int) -> None:
    """What `--weights` reads."""
    parameters, metadata = load_weights(folder / WEIGHTS)
    architecture_of(folder / WEIGHTS, parameters, metadata, None)


def use_data(folder: Path, _: int) -> None:
    """What `--dataset` reads."""
    load_dataset(str(folder))


def use_comparison(folder: Path, _: int) -> None:
    """What a resumed comparison reads, and the runs that it starts."""
    plan = stored_plan(folder)
    if plan is not None:
        shlex.split(plan.command)
        for spec in plan.specs:
            plan.arguments(spec, folder)


class TimeIsUp(BaseException):
    """Unlike a TimeoutError, no `except` clause of the package catches it."""


def faults_of(read: Callable[[], object]) -> list[str]:
    """Read a file under limits on time and memory."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    before = signal.signal(signal.SIGALRM, _time_is_up)
    signal.alarm(SECONDS)
    try:
        read()
    except UserError:
        pass
    except BaseException as problem:
        return [described(problem)[:200]]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    return []


def _time_is_up(*_: object) -> None:
    raise TimeIsUp(f"no end within {SECONDS} s")


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Change, cut, repeat or add some bytes, most often near the start, where headers are."""
    mutated = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(min(len(mutated), rng.choice((8, 64, 2000, len(mutated))))) if mutated else 0
        match rng.randrange(5):
            case 0:
                mutated[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                mutated[at : at + 4] = struct.pack(">I", rng.choice(COUNTS))
            case 2:
                del mutated[rng.randrange(len(mutated) + 1) :]
            case 3:
                mutated[at:at] = mutated[at : at + rng.randint(1, 100)]
            case 4:
                mutated += rng.randbytes(rng.randint(1, 1000))
    return bytes(mutated)


def mutate_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Change the values in a checkpoint's header and in its description of the run; the header's length is right."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = header.get("__metadata__")
    if metadata and rng.random() < 0.7:
        key = rng.choice(list(metadata))
        metadata[key] = dump(mutate_tree(json.loads(metadata[key]), rng))
    else:
        header = mutate_tree(header, rng)
    text = dump(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def mutate_idx(content: bytes, rng: random.Random) -> bytes:
    """Change an IDX file, if it is gzipped inside its compression; the checksum is right."""
    zipped = content[:2] == b"\x1f\x8b"
    payload = bytearray(gzip.decompress(content) if zipped else content)
    for _ in range(rng.randint(1, 3)):
        at = rng.choice((0, 4, 8, 12))
        payload[at : at + 4] = struct.pack(">I", rng.choice((*COUNTS, rng.randrange(2**32))))
    if rng.random() < 0.3:
        payload = payload[: rng.randrange(len(payload))]
    return gzip.compress(bytes(payload), compresslevel=1, mtime=0) if zipped else bytes(payload)


def mutate_json(content: bytes, rng: random.Random) -> bytes:
    """Change values in a JSON file."""
    return dump(mutate_tree(json.loads(content), rng)).encode()


def mutate_tree(tree: Any, rng: random.Random) -> Any:
    """Replace, remove, repeat or nest a value somewhere in a tree of lists and dictionaries."""
    if isinstance(tree, dict) and tree and rng.random() < 0.8:
        key = rng.choice(list(tree))
        match rng.randrange(6):
            case 0:
                return {other: value for other, value in tree.items() if other != key}
            case 1:
                return tree | {rng.choice(TEXTS): tree[key]}
            case _:
                return tree | {key: mutate_tree(tree[key], rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.8:
        at = rng.randrange(len(tree))
        match rng.randrange(6):
            case 0:
                return tree[:at] + tree[at + 1 :]
            case 1:
                return tree + tree * rng.choice((1, 50))
            case _:
                return [*tree[:at], mutate_tree(tree[at], rng), *tree[at + 1 :]]
    return rng.choice((rng.choice(NUMBERS), rng.choice(TEXTS), None, True, [], {}, [tree], {"a": tree}, Deep(5000)))


class Deep:
    """A list that is nested `depth` times."""

    def __init__(self, depth: int) -> None:
        self.text = "[" * depth + "]" * depth


def dump(tree: Any) -> str:
    """JSON text; `Deep` lists and numbers of any length are written as they are."""
    if isinstance(tree, Deep):
        return tree.text
    if isinstance(tree, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{dump(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(dump, tree)) + "]"
    if isinstance(tree, int) and not isinstance(tree, bool) and abs(tree) > 10**4000:
        return "1" + "0" * 5000
    return json.dumps(tree)

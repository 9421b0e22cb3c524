"""Mutated files: each is read, or refused by a `UserError`, in bounded time and memory."""

import gzip
import json
import random
import resource
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fault_campaign.commands import QUICK, Row, finish, start

from lenet_multi.comparison.folder import COMPARISON, stored_plan
from lenet_multi.data import load_dataset
from lenet_multi.data.idx import FILE_NAMES
from lenet_multi.errors import UserError
from lenet_multi.runs.checkpoint import CHECKPOINT, load_checkpoint

SECONDS = 30  # that reading one file may take
MEMORY = 500 * 2**20  # bytes that reading one file may add
NUMBERS = [0, 1, -1, 255, 256, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 10**30, 10**5000, 1e308, float("nan"), float("inf")]
COUNTS = [0, 1, 27, 28, 500, 2049, 2051, 2**31, 2**32 - 2]  # of an IDX header, and its magic numbers
TEXTS = ["", "\0", "\x1b[31m", "$x^$", "../..", "é\u202e", "a" * 100_000, "help", "-1", "auto"]


def mutated_files(count: int, data: Path, folder: Path, seed: int) -> Iterator[Row]:
    """A row for each kind of file: `count` mutations, half of them with lengths and checksums made right again."""
    small = folder / "files-data"
    shutil.copytree(data, small)
    for name in FILE_NAMES.values():
        path = small / name
        path.with_name(f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), compresslevel=1, mtime=0))
        path.unlink()
    run, compared = folder / "files-run", folder / "files-compared"
    prepared = Row("a run and a comparison to mutate")
    options = ["--dataset", str(data), "--epochs", "1", *QUICK]
    prepared.note(finish(start("train", *options, "--out", run)))
    prepared.note(finish(start("compare", *options, "--backends", "torch", "--vary", "seed=0,1", "--out", compared)))
    yield prepared
    images = small / f"{FILE_NAMES['test images']}.gz"
    kinds: list[tuple[str, Path, Callable[[], Any], Callable[[bytes, random.Random], bytes]]] = [
        ("checkpoint", run / CHECKPOINT, lambda: load_checkpoint(run), mutate_safetensors),
        ("IDX file", images, lambda: load_dataset(str(small)), mutate_idx),
        (COMPARISON, compared / COMPARISON, lambda: stored_plan(compared), mutate_json),
    ]
    for what, path, read, repaired in kinds:
        row = Row(f"mutated {what}")
        original = path.read_bytes()
        for number in range(count):
            rng = random.Random(f"{seed} {what} {number}")
            mutated = repaired(original, rng) if number % 2 else mutate_bytes(original, rng)
            path.write_bytes(mutated)
            row.note([f"{what} {number}: {fault}" for fault in faults_of(read)])
        path.write_bytes(original)
        yield row


def faults_of(read: Callable[[], Any]) -> list[str]:
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
        return [f"{type(problem).__name__}: {str(problem)[:200]}"]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    return []


def _time_is_up(*_: object) -> None:
    raise TimeoutError(f"no end within {SECONDS} s")


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
    if rng.random() < 0.3:
        header = mutate_tree(header, rng)
    else:
        key = rng.choice(list(header["__metadata__"]))
        header["__metadata__"][key] = dump(mutate_tree(json.loads(header["__metadata__"][key]), rng))
    text = dump(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def mutate_idx(content: bytes, rng: random.Random) -> bytes:
    """Change an IDX file inside its compression; the checksum is right."""
    payload = bytearray(gzip.decompress(content))
    for _ in range(rng.randint(1, 3)):
        at = rng.choice((0, 4, 8, 12))
        payload[at : at + 4] = struct.pack(">I", rng.choice((*COUNTS, rng.randrange(2**32))))
    if rng.random() < 0.3:
        payload = payload[: rng.randrange(len(payload))]
    return gzip.compress(bytes(payload), compresslevel=1, mtime=0)


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

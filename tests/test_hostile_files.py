"""Files of unknown origin, damaged by chance or made to do harm, end in one line, and take neither time nor memory."""

# Some tests pass wrong types on purpose.
# mypy: disable-error-code="arg-type,call-arg"

import errno
import gzip
import json
import os
import re
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from conftest import INSTALLED, write_folder

from lenet_multi import activations, architecture, compare, evaluate, shapes, train
from lenet_multi.architecture import (
    MAX_LAYERS,
    PRESETS,
    Architecture,
    ArchitectureError,
    Conv,
    Dense,
    Flatten,
    Pool,
    lenet,
)
from lenet_multi.backends import load_backend, num_threads
from lenet_multi.backends.sharing import LONGEST_NODE
from lenet_multi.comparison.folder import MAX_PLAN, stored_plan
from lenet_multi.comparison.plan import Plan
from lenet_multi.data import DataError, Split, load_dataset
from lenet_multi.data.idx import FILE_NAMES, read_payload
from lenet_multi.errors import UserError
from lenet_multi.runs import checkpoint, weights
from lenet_multi.runs import memory as runs_memory
from lenet_multi.runs.checkpoint import CHECKPOINT, MAX_EPOCHS, Segment, load_checkpoint, load_run
from lenet_multi.runs.memory import evaluation_memory, training_memory
from lenet_multi.runs.outputs import history, summary, title
from lenet_multi.runs.trained_network import load_trained_network
from lenet_multi.runs.weights import MAX_HEADER, WeightsError, load_weights, save_weights
from lenet_multi.system import memory
from lenet_multi.system.memory import available_memory
from lenet_multi.system.stderr import say
from lenet_multi.training.curves import draw_curves, png
from lenet_multi.training.points import Point
from lenet_multi.training.settings import Settings

TRAIN_IMAGES, TRAIN_LABELS = FILE_NAMES["train images"], FILE_NAMES["train labels"]
CONV = {"layer": "conv", "channels": 1, "kernel_size": 1, "padding": 0, "activation": None}
POOL = {"layer": "pool", "kind": "avg", "kernel_size": 1, "stride": 1}
DENSE = {"layer": "dense", "units": 10, "activation": None}

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders and no limits of a process")


def refused(main, arguments, capsys) -> str:
    """The one line with which a command refuses."""
    assert main(list(map(str, arguments))) == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("error: ")
    return printed[0]


def described(*layers: dict) -> dict:
    return {"name": "custom", "input_shape": [1, 28, 28], "layers": [*layers, {"layer": "flatten"}, DENSE]}


def weights_for(path: Path, network: str, run: str = "{}") -> Path:
    """A file of few bytes, with a description as text."""
    arrays = {"dense1.weight": np.zeros((10, 1), np.float32), "dense1.bias": np.zeros(10, np.float32)}
    path.write_bytes(safetensors.numpy.save(arrays, metadata={"architecture": network, "run": run}))
    return path


def sparse_weights(path: Path, numbers: int, metadata: dict[str, str] | None = None) -> Path:
    """A file with one array of so many numbers, which takes no space on most disks."""
    header = {"conv1.weight": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}}
    text = json.dumps(header | ({"__metadata__": metadata} if metadata else {})).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 4 * numbers)
    return path


@pytest.fixture
def run(small_folder, tmp_path) -> Path:
    options = ["--epochs", "1", "--batch-size", "50", "--device", "cpu"]
    assert train.main(["--dataset", str(small_folder), *options, "--out", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


# The description of a network


def large_network() -> dict:
    """A small file could hold it: its largest layer has 1.6 thousand million numbers, its parameters are 13."""
    return described(CONV | {"padding": 20_000}, POOL | {"kernel_size": 40_028})


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        (
            [CONV | {"padding": 50_000}, POOL | {"kernel_size": 100_028}],
            "conv1: its padded input .* 10,005,600,784 num",
        ),
        ([CONV | {"channels": 3_000_000}], "conv1: its output for one example has 2,352,000,000 numbers"),
        ([CONV | {"padding": 10**9}], "conv1: padding 1000000000, expected at most 65,536"),
        ([POOL | {"stride": 10**4000}], "pool1: stride of more than 20 digits, expected at most 65,536"),
        ([POOL | {"kernel_size": 10**4000}], "pool1: kernel size of more than 20 digits"),
        ([POOL | {"kernel_size": -(10**4000)}], "pool1: kernel size of more than 20 digits, expected a whole number"),
        ([POOL | {"kind": ["x" * 9] * 9999}], "pool1: pooling .{1,200}, expected one of avg, max"),
        ([CONV | {"activation": "x" * 9999}], "conv1: activation .{1,200}, expected one of sigmoid"),
        ([CONV | {"x" * 9999: 1}], "not the description of a network .{1,300}$"),
        ([POOL] * (MAX_LAYERS + 1), "1,003 layers, expected at most 1,000"),
        (["conv"], "not the description of a network"),
    ],
)
def test_a_description_of_a_network_that_cannot_be_computed_is_refused(layers, named):
    with pytest.raises(ArchitectureError, match=named):
        Architecture.from_dict(described(*layers))


@pytest.mark.parametrize(
    "layers",
    [
        (Conv(1, 1, 4000), Pool("max", 4000, 1), Flatten(), Dense(10)),
        (Conv(1, 4000, 4000), Flatten(), Dense(10)),
        (*[Conv(40_000, 1)] * 2, Pool("avg", 28, 1), Flatten(), Dense(10)),
    ],
)
def test_a_network_that_takes_too_long_is_refused(layers):
    with pytest.raises(
        ArchitectureError, match=r"^[\d,]+ operations for one example, expected at most 1,000,000,000,000"
    ):
        Architecture((1, 28, 28), layers)


def test_an_input_of_too_many_pixels_is_refused():
    with pytest.raises(ArchitectureError, match="input: its image for one example"):
        Architecture((1, 50_000, 50_000), (Flatten(), Dense(10)))


def test_a_layer_is_checked_once(monkeypatch):
    """Backends ask for the shapes at every layer: their time would grow with the square of the number of layers."""
    checked, compute = [], architecture._output_shape

    def counted(name, *arguments):
        checked.append(name)
        return compute(name, *arguments)

    monkeypatch.setattr(architecture, "_output_shape", counted)
    network = lenet()
    for name in network.named_layers:
        assert network.output_shapes[name]
        assert network.input_shapes[name]
        assert network.parameter_shapes
    assert checked == list(network.named_layers)


def test_a_deep_network_within_the_limit_is_accepted():
    layers = (*[Pool("avg", 1, 1)] * (MAX_LAYERS - 2), Flatten(), Dense(10))
    assert len(Architecture((1, 28, 28), layers).named_layers) == MAX_LAYERS


@pytest.mark.parametrize("backend", INSTALLED)
def test_a_small_file_of_a_large_network_is_refused_before_the_framework_allocates_it(
    backend, small_folder, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "small.safetensors"
    network = large_network()
    arrays = {
        name: np.zeros(shape, np.float32) for name, shape in Architecture.from_dict(network).parameter_shapes.items()
    }
    save_weights(path, arrays, {"architecture": network})
    assert path.stat().st_size < 2000
    monkeypatch.setattr(memory, "available_memory", lambda: 64 * 10**9)
    monkeypatch.setattr(f"lenet_multi.backends.{backend}.LeNet", None)
    message = refused(
        evaluate.main, ["--backend", backend, "--weights", path, "--dataset", small_folder, "--device", "cpu"], capsys
    )
    assert re.fullmatch(
        r"error: the network in batches of 50 needs about \d+\.\d GB, but 64\.0 GB are available: choose smaller "
        "images, fewer channels or units, or smaller batches",
        message,
    )


# The memory that a network needs


@pytest.mark.parametrize("backend", INSTALLED)
def test_training_a_network_that_does_not_fit_into_memory_is_refused(
    backend, small_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 10**9)
    options = ["--dense-units", "40000,50000", "--batch-size", "10", "--device", "cpu", "--out", tmp_path / "run"]
    message = refused(train.main, ["--backend", backend, "--dataset", small_folder, *options], capsys)
    assert "needs about 32.3 GB, but 8.0 GB are available" in message
    assert not (tmp_path / "run").exists()


def test_every_command_that_builds_a_network_asks_for_its_memory(run, small_folder, tmp_path, monkeypatch, capsys):
    capsys.readouterr()
    monkeypatch.setattr(memory, "available_memory", lambda: 300_000)  # enough for the files
    trained = ["--weights", run, "--dataset", small_folder]
    for main, arguments in (
        (evaluate.main, trained),
        (activations.main, [*trained, "--examples", "1,2,3,4", "--out", tmp_path / "maps.png"]),
        (train.main, ["--dataset", small_folder, "--batch-size", "50"]),
        (shapes.main, ["--backend", "torch", "--conv-channels", "60,160"]),
    ):
        assert "but 0 MB are available" in refused(main, arguments, capsys)


def test_the_estimates_are_those_of_a_known_network(monkeypatch):
    """Two examples of 8 x 8, padded to 10 x 10, a convolution of 3 channels of 8 x 8, and ten units."""
    network = Architecture((1, 8, 8), (Conv(3, 3, 1, "relu"), Flatten(), Dense(10)))
    parameters = 3 * 9 + 3 + 192 * 10 + 10
    monkeypatch.setattr(runs_memory, "available_cores", lambda: 4)
    for examples, at_once in ((1, 1), (2, 2), (100, 100), (10**7, 2**28 // (9 * 64))):
        outputs, convolved, workspace = examples * (64 + 100 + 2 * 192 + 10), examples * (100 + 2 * 192), 576 * at_once
        evaluation = 2 * parameters + outputs + workspace
        training = evaluation + parameters + 2 * convolved + workspace
        assert evaluation_memory(network, examples) == 4 * evaluation
        assert training_memory(network, examples) == 4 * training
        assert training_memory(network, examples, saved=True) == 4 * (training + parameters)


def test_a_convolution_of_many_pixels_has_a_workspace_for_each_core(monkeypatch):
    sizes = {}
    network = Architecture((1, 28, 28), (Conv(1, 15, 2000), Pool("max", 4000, 4000), Flatten(), Dense(10)))
    for cores in (1, 4):
        monkeypatch.setattr(runs_memory, "available_cores", lambda cores=cores: cores)
        sizes[cores] = evaluation_memory(network, 10)
    assert sizes[4] - sizes[1] == 4 * 3 * 15**2 * 4014**2


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_are_trained_in_large_batches_on_a_machine_of_8_gb(preset):
    assert training_memory(PRESETS[preset], 4096, saved=True) < 3 * 10**9
    assert training_memory(PRESETS[preset], 256, saved=True) < 500 * 10**6


@pytest.mark.parametrize("backend", INSTALLED)
def test_the_fast_loop_combines_no_pooling_over_large_windows(backend, small_folder, tmp_path, capsys):
    """Its kernels would have a thousand million numbers: 100 x 100 positions of 104 x 104 pixels and 8 channels."""
    network = Architecture((1, 28, 28), (Conv(8, 5, 100, "sigmoid"), Pool("avg", 100, 100), Flatten(), Dense(10)))
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=s).astype(np.float32) for name, s in network.parameter_shapes.items()}
    save_weights(tmp_path / "x.safetensors", arrays, {"architecture": network.to_dict()})
    options = ["--backend", backend, "--weights", str(tmp_path / "x.safetensors"), "--dataset", str(small_folder)]
    printed = []
    for loop in ("plain", "fast"):
        assert evaluate.main([*options, "--device", "cpu", "--loop", loop]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


# Runs commands in a process whose address space is limited, after the framework is imported.
LIMITED = """
import json, resource, sys
from pathlib import Path
from lenet_multi import evaluate, train
from lenet_multi.backends import load_backend
from lenet_multi.runs import memory

backend, limits, checked, examples, *arguments = sys.argv[1:]
load_backend(backend)
if checked == "unchecked":
    memory.require_bytes = lambda *_: None
weights = ["--weights", *arguments]
for limit in json.loads(limits):
    for main, options in ((evaluate.main, weights), (train.main, [*weights, "--epochs", "1", "--lr", "0.001"])):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + limit, resource.RLIM_INFINITY))
        print("status", main(["--backend", backend, "--device", "cpu", "--batch-size", examples, *options]))
"""
limits_memory = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


def limited(
    backend: str, limits: list[int], checked: str, network: Architecture, folder: Path, examples: int = 8
) -> tuple[list, list]:
    """The statuses of an evaluation and a training run under each limit, and the lines on standard error."""
    data, path = write_folder(folder / "data", examples, examples), folder / "x.safetensors"
    arrays = {name: np.zeros(shape, np.float32) for name, shape in network.parameter_shapes.items()}
    save_weights(path, arrays, {"architecture": network.to_dict()})
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, backend, json.dumps(limits), checked, str(examples), path, "--dataset", data],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return re.findall(r"^status (\d+)$", process.stdout, flags=re.M), process.stderr.splitlines()


@limits_memory
@pytest.mark.parametrize("backend", INSTALLED)
def test_a_network_that_does_not_fit_under_the_limit_of_a_process_is_refused_and_every_other_is_computed(
    backend, tmp_path
):
    """A framework without memory may end the process: TensorFlow's convolutions do."""
    network = Architecture((1, 28, 28), (Conv(1, 5, 400, "sigmoid"), Pool("max", 400, 400), Flatten(), Dense(10)))
    threads = runs_memory.THREAD_SPACE * num_threads(load_backend(backend))
    need = training_memory(network, 8) + threads
    limits = [700 * 10**6, need * 11 // 10, need * 2, need * 4]
    statuses, lines = limited(backend, limits, "checked", network, tmp_path)
    assert statuses == ["2"] * 2 + ["0"] * 6
    errors = [line for line in lines if line.startswith("error: ")]
    assert all("the network in batches of 8 needs about" in line for line in errors), errors
    assert len(errors) == 2
    assert "Traceback (most recent call last):" not in lines


@limits_memory
@pytest.mark.parametrize("backend", INSTALLED)
def test_a_frameworks_own_lack_of_memory_is_a_one_line_error(backend, tmp_path):
    """As where another process takes the memory after it was compared with the estimate."""
    network = Architecture((1, 28, 28), (Conv(1, 5, 1500), Pool("max", 1500, 1500), Flatten(), Dense(10)))
    statuses, lines = limited(backend, [2 * 10**9], "unchecked", network, tmp_path, examples=80)
    assert statuses == ["2", "2"]
    out_of_memory = "error: out of memory: close other programs, or raise the limit (ulimit -v)"
    assert [line for line in lines if "test images of" not in line] == [out_of_memory] * 2


@pytest.mark.parametrize(
    ("problem", "lacks"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"), True),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (KeyError("memory"), False),
    ],
    ids=str,
)
def test_a_lack_of_memory_is_recognized(problem, lacks):
    assert memory.is_lack_of_memory(problem) == lacks


def system(root: Path, **files: str) -> Path:
    for name, content in {"proc/meminfo": "MemAvailable: 8000 kB\nSwapFree: 1000 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 9000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": "6000000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 1000000\nfile 4000000\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
            },
            5_000_000 + 1000 * 1024,
        ),
        (
            {
                "proc/self/cgroup": "9:name=systemd:/\n4:memory:/outside/the/container\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "6000000\n",
                "sys/fs/cgroup/memory/memory.stat": "cache 4000000\ntotal_rss 2000000\n",
            },
            4_000_000 + 1000 * 1024,
        ),
        ({"proc/self/cgroup": "0::/gone\n"}, 9000 * 1024),
    ],
    ids=["machine", "version 2", "version 1", "no limit"],
)
def test_available_memory_is_the_least_of_the_machines_and_its_control_groups(files, expected, tmp_path):
    assert available_memory(system(tmp_path, **files)) == expected


@posix
def test_available_memory_respects_the_limit_of_the_address_space(tmp_path, monkeypatch):
    import resource

    limits = {resource.RLIMIT_AS: (6_000_000, -1), resource.RLIMIT_DATA: (resource.RLIM_INFINITY, -1)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    root = system(tmp_path, **{"proc/self/status": "VmSize:\t1000 kB\nVmData:\t10 kB\n"})
    assert available_memory(root) == 6_000_000 - 1000 * 1024


def test_memory_is_unknown_where_the_system_does_not_tell(tmp_path):
    assert available_memory(tmp_path) is None


@posix
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("backend", INSTALLED)
def test_a_framework_that_cannot_be_imported_for_want_of_memory_is_not_to_be_reinstalled(backend):
    limit = 1000 if backend == "tensorflow" else 500  # MB
    code = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({limit} * 10**6, resource.RLIM_INFINITY))\n"
        "from lenet_multi.evaluate import main\n"
        f"from lenet_multi.backends import load_backend\n"
        "from lenet_multi.system.command import run_command\n"
        f"sys.exit(run_command(lambda argv: load_backend('{backend}')))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert re.fullmatch(r"error: .* cannot be imported .*: free some memory, or raise .*ulimit -v.*\n", result.stderr)


# Files of parameters


def test_save_weights_takes_text(tmp_path):
    parameters = {name: np.ones(shape, np.float32) for name, shape in lenet().parameter_shapes.items()}
    save_weights(str(tmp_path / "own.safetensors"), parameters, {})
    assert load_weights(str(tmp_path / "own.safetensors"))[0].keys() == parameters.keys()


def test_load_weights_takes_text_and_the_folder_of_a_run(run):
    expected, _ = load_weights(run / CHECKPOINT)
    for path in (str(run), run, str(run / CHECKPOINT)):
        parameters, metadata = load_weights(path)
        assert parameters.keys() == expected.keys()
        assert metadata["architecture"]["name"] == "lenet5"


def test_load_weights_refuses_a_folder_of_runs(run):
    with pytest.raises(WeightsError, match=r"is a folder of runs: pass one of them, as in .*run"):
        load_weights(run.parent)


@pytest.mark.parametrize(
    "metadata",
    ['{"name": ' + "9" * 5000 + "}", "[" * 100_000, '{"layers": 1e999}', "\x00"],
    ids=["digits", "deep", "infinite", "null"],
)
def test_metadata_that_python_cannot_read_is_a_one_line_error(metadata, tmp_path, small_folder, capsys):
    path = weights_for(tmp_path / "x.safetensors", metadata, metadata)
    refused(evaluate.main, ["--weights", path, "--dataset", small_folder], capsys)


@pytest.mark.parametrize("value", [10**400, 1e300, -1e300, 10**15])
@pytest.mark.parametrize("where", ["point", "setting", "segment"])
def test_numbers_of_a_run_that_are_too_large_are_refused(value, where, run, capsys):
    parameters, metadata = load_weights(run)
    if where == "point":
        metadata["run"]["points"][0]["epoch"] = value
    elif where == "setting":
        metadata["run"]["settings"]["epochs"] = int(abs(value))
    else:
        metadata["run"]["segments"][0]["epochs_done"] = int(abs(value))
    save_weights(run / CHECKPOINT, parameters, metadata)
    capsys.readouterr()
    message = refused(train.main, ["--resume", "--epochs", "2", "--out", run], capsys)
    assert "does not describe a training run" in message


def test_a_device_that_is_a_command_for_the_terminal_is_refused(run, capsys):
    parameters, metadata = load_weights(run)
    metadata["run"]["segments"][0]["device"] = "cpu\x1b[2J"
    save_weights(run / CHECKPOINT, parameters, metadata)
    capsys.readouterr()
    assert "\x1b" not in refused(train.main, ["--resume", "--out", run], capsys)


def test_the_name_of_a_data_set_may_be_longer_than_a_path(run):
    parameters, metadata = load_weights(run)
    metadata["run"]["settings"]["dataset"] = "d" * 5000
    save_weights(run / CHECKPOINT, parameters, metadata)
    trained = load_trained_network(evaluate.parser().parse_args(["--weights", str(run)]))
    with pytest.raises(DataError, match=r"^the folder 'd{200}', which the network was trained on, is missing"):
        trained.load()


def test_names_in_a_file_are_printed_without_commands_for_the_terminal(tmp_path, small_folder, capsys):
    path = tmp_path / "x.safetensors"
    arrays = {name: np.zeros(shape, np.float32) for name, shape in lenet().parameter_shapes.items()}
    safetensors.numpy.save_file(arrays | {"\x1b]0;title\x07": np.zeros(1, np.float32)}, path)
    message = refused(evaluate.main, ["--weights", path, "--dataset", small_folder], capsys)
    assert "has \\x1b]0;title\\x07, which the network does not have" in message


def test_messages_keep_their_lines_and_letters(capsys):
    say("a\tb\nc \u00e9 \u4e16\u00a0\x9bm")
    assert capsys.readouterr().err == "a\tb\nc \u00e9 \u4e16\u00a0\\x9bm\n"


@pytest.mark.parametrize("length", [MAX_HEADER + 1, 2**63])
def test_a_header_that_is_too_long_is_not_parsed(length, tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{" * 100)
    monkeypatch.setattr(safetensors, "safe_open", None)
    with pytest.raises(WeightsError, match=rf"not a safetensors file \(a header of {length:,} bytes\)"):
        load_weights(path)


def test_a_header_that_would_be_too_long_to_read_is_not_written(tmp_path):
    with pytest.raises(
        WeightsError, match=r"would have a header of .* expected at most 16,777,216: train fewer epochs"
    ):
        save_weights(tmp_path / "x.safetensors", {"x": np.zeros(1, np.float32)}, {"run": "x" * MAX_HEADER})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["epochs", "batch-size", "lr-decay-epoch", "seed", "lr"])
def test_an_option_that_a_run_could_not_hold_is_refused_before_training(option, small_folder, tmp_path, capsys):
    limit = f"expected .* (at most|to) {MAX_EPOCHS if option == 'epochs' else 2**32 - 1}"
    options = ["--dataset", small_folder, "--out", tmp_path / "run", f"--{option}", 5 * 10**38]
    assert re.search("below 3.4e38" if option == "lr" else limit, refused(train.main, options, capsys))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_the_most_epochs_can_be_read(tmp_path):
    """Each epoch is a segment of its own, and its numbers have as many digits as numbers can have."""
    number = 1.2345678901234567e-05
    points = [
        Point(epoch + part / 5 - 1e-12, number, number, number if part == 5 else None)
        for epoch in range(MAX_EPOCHS - 1)
        for part in range(1, 6)
    ]
    points.append(Point(MAX_EPOCHS, number, number, number))
    segments = [
        Segment(
            "tensorflow",
            "TensorFlow",
            "2.21.0+cu",
            "gpu:10",
            epoch,
            epoch + 1,
            1e6 / 3,
            1e6,
            1e6,
            1e6 / 3,
            loop="plain",
            jobs=10**5,
            node="n" * LONGEST_NODE,
        )
        for epoch in range(MAX_EPOCHS)
    ]
    settings = Settings("d" * 4000, "0" * 64, 60_000, 10_000, MAX_EPOCHS, 256, 0.9, 0)
    whole = checkpoint.Run(lenet(dense_units=[10] * 900), settings, "tensorflow", "plain", points, segments)
    parameters = {name: np.zeros(shape, np.float32) for name, shape in whole.architecture.parameter_shapes.items()}
    checkpoint.save_checkpoint(tmp_path, whole, parameters)
    assert load_run(tmp_path) == whole


def test_a_file_of_too_many_arrays_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file({str(number): np.zeros(0, np.float32) for number in range(2001)}, path)
    with pytest.raises(WeightsError, match=r"\(2,001 arrays\)"):
        load_weights(path)


def test_a_file_of_parameters_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    path = sparse_weights(tmp_path / "x.safetensors", 25 * 10**9)
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 10**9)
    with pytest.raises(UserError, match=r"needs about 100\.0 GB, but 8\.0 GB are available: choose another file"):
        load_weights(path)


@pytest.mark.parametrize("described", [True, False])
def test_a_file_of_other_arrays_than_the_networks_is_refused_before_they_are_read(
    described, small_folder, tmp_path, monkeypatch, capsys
):
    metadata = {"architecture": json.dumps(lenet().to_dict())} if described else {}
    path = sparse_weights(tmp_path / "x.safetensors", 10**9, metadata)
    monkeypatch.setattr(weights, "load_weights", None)
    weights_option = ["--weights", path, "--dataset", small_folder]
    for main, arguments in (
        (evaluate.main, weights_option),
        (train.main, weights_option),
        (compare.main, [*weights_option, "--backends", "torch", "--out", tmp_path / "out"]),
    ):
        assert "conv1.weight has shape (1000000000,), expected (6, 1, 5, 5)" in refused(main, arguments, capsys)


def test_a_run_of_other_arrays_than_its_networks_is_refused_before_they_are_read(run, monkeypatch, capsys):
    with safetensors.safe_open(run / CHECKPOINT, framework="numpy") as file:
        metadata = file.metadata()
    sparse_weights(run / CHECKPOINT, 10**9, metadata)
    monkeypatch.setattr(checkpoint, "load_weights", None)
    assert load_run(run).epochs_done == 1  # without its arrays
    capsys.readouterr()
    message = refused(train.main, ["--resume", "--epochs", "2", "--out", run], capsys)
    assert "conv1.weight has shape (1000000000,), expected (6, 1, 5, 5)" in message


@limits_memory
def test_a_sparse_file_of_parameters_takes_no_memory(small_folder, tmp_path):
    path = sparse_weights(tmp_path / "x.safetensors", 10**9)
    code = (
        "import resource, sys\n"
        "from lenet_multi import evaluate\n"
        "from lenet_multi.system.process import peak_rss_mb\n"
        "before = peak_rss_mb()\n"
        "assert evaluate.main(sys.argv[1:]) == 2\n"
        "print(peak_rss_mb() - before)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, "--weights", path, "--dataset", small_folder], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert float(process.stdout) < 100  # MB


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_an_array_of_another_type_is_named_before_it_is_read(dtype, small_folder, tmp_path, capsys):
    path = tmp_path / "x.safetensors"
    arrays = {name: np.zeros(shape, dtype) for name, shape in lenet().parameter_shapes.items()}
    safetensors.numpy.save_file(arrays, path)
    expected = {"int32": "I32"}.get(dtype, dtype)
    message = refused(evaluate.main, ["--weights", path, "--dataset", small_folder], capsys)
    assert f"conv1.weight is {expected}, expected float32: convert it" in message


def test_loaded_parameters_are_finite(tmp_path):
    save_weights(tmp_path / "x.safetensors", {"x": np.full(3, np.nan, np.float32)}, {})
    with pytest.raises(WeightsError, match="x is not finite everywhere: choose another file"):
        load_weights(tmp_path / "x.safetensors")


@posix
def test_a_pipe_is_not_read_as_parameters(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    message = refused(evaluate.main, ["--weights", tmp_path / "pipe"], capsys)
    assert "cannot be read (not a regular file)" in message


def test_a_path_with_a_null_byte_is_a_clear_error():
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights("a\0b")


# Data sets


@pytest.fixture
def own(tmp_path) -> Path:
    return write_folder(tmp_path / "own", num_train=40, num_test=20)


HEADERS = {
    "00000803 fffffffe fffffffe 00000000": "announces 4294967294 x 4294967294 x 0 bytes, expected fewer than",
    "00000803 ffffffff ffffffff ffffffff": "announces 4294967295 x 4294967295 x 4294967295 bytes, expected fewer than",
    "00000803 00000028 00000000 0000001c": "announces 40 x 0 x 28 bytes, images without pixels",
    "00000803 00010000 0000001c 0000001c": "31360 bytes after the header, expected 51380224",
    "00000803 00000001 0000001c 0000001c": "more than 784 bytes after the header, expected 784",
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_a_header_that_announces_another_size_is_refused(header, compressed, own, capsys):
    path = own / TRAIN_IMAGES
    content = bytes.fromhex(header) + path.read_bytes()[16:]
    path.write_bytes(gzip.compress(content) if compressed else content)
    message = refused(train.main, ["--dataset", own], capsys)
    assert f"{TRAIN_IMAGES}: " in message
    assert HEADERS[header] in message


def test_labels_that_are_too_many_are_refused(own, capsys):
    (own / TRAIN_LABELS).write_bytes(bytes.fromhex("00000801 ffffffff") + bytes(40))
    assert "announces 4294967295 bytes" in refused(train.main, ["--dataset", own], capsys)


def test_a_file_that_decompresses_to_more_than_it_announces_is_read_no_further(own):
    path = own / TRAIN_IMAGES
    path.write_bytes(gzip.compress(path.read_bytes() + bytes(10**8)))
    assert len(read_payload(path)) == 16 + 40 * 28 * 28 + 1
    with pytest.raises(DataError, match="more than 31360 bytes after the header"):
        load_dataset(str(own))


@pytest.mark.parametrize("content", ["all", "none"])
def test_zeros_after_gzip_data_are_not_read(content, own):
    """A block device fills its last block so, and a sparse file can have any number of them."""
    path = own / TRAIN_IMAGES
    compressed = gzip.compress(path.read_bytes() if content == "all" else b"")
    with path.open("wb") as file:
        file.write(compressed)
        file.truncate(100 * 10**9)  # takes no space on most disks
    with pytest.raises(DataError, match="the gzip data is damaged or truncated"):
        load_dataset(str(own))


def test_a_large_file_without_a_header_is_read_no_further(own):
    with (own / TRAIN_IMAGES).open("wb") as file:
        file.truncate(100 * 10**9)  # takes no space on most disks
    with pytest.raises(DataError, match="not an IDX file of images: begins with 0x00000000"):
        load_dataset(str(own))


def test_data_larger_than_the_memory_is_refused(own, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    with pytest.raises(UserError, match=f"{TRAIN_IMAGES}: the data needs about 0 MB, but 0 MB are available"):
        load_dataset(str(own))


IMAGES, LABELS = np.zeros((4, 1, 28, 28), np.uint8), np.arange(4, dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32) + 2, LABELS, "float32 images from 2 to 2, expected pixels from 0 to 1: scale them"),
        (np.full((4, 1, 28, 28), np.nan, np.float32), LABELS, "float32 images from nan to nan"),
        (IMAGES / np.float64(255), LABELS, "images of dtype float64, expected uint8, .* or float32, the pixels from 0"),
        (IMAGES.astype(np.int64), LABELS, "images of dtype int64, expected uint8"),
        (
            IMAGES[:, 0],
            LABELS,
            r"images of shape \(4, 28, 28\), expected \(N, channels, .*as in images\[:, np.newaxis\]",
        ),
        (IMAGES.tolist(), LABELS, "images of type list, expected a NumPy array"),
        (IMAGES, LABELS.tolist(), "labels of type list, expected a NumPy array"),
        (IMAGES, LABELS[:3], "4 images but 3 labels"),
        (IMAGES, LABELS.astype(np.int64) + 253, "labels from 253 to 256, expected class indices from 0 to at most 255"),
        (IMAGES, LABELS.astype(np.int64) - 1, "labels from -1 to 2, expected class indices from 0"),
        (IMAGES, LABELS.astype(np.float32), "labels of dtype float32 and shape .*, expected integers"),
        (IMAGES, np.eye(4, dtype=np.uint8), r"labels of dtype uint8 and shape \(4, 4\), expected integers \(N,\)"),
    ],
)
def test_a_split_refuses_arrays_that_the_backends_cannot_use(images, labels, message):
    with pytest.raises(DataError, match=message):
        Split(images, labels)


def test_a_split_takes_labels_of_any_integer_type():
    assert len(Split(IMAGES, LABELS.astype(np.int64)).subset(3)) == 3


# The file of a comparison


def plan(**changes) -> dict:
    return {"plan": {"backends": ["torch"], "vary": [], "options": {"epochs": "1"}, "same_start": False} | changes}


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"plan": ' + "9" * 5000 + "}",
        json.dumps(plan(options={"help": True})),
        json.dumps(plan(options={"help": "x"})),
        json.dumps(plan(options={"out": "/elsewhere"})),
        json.dumps(plan(options={"dataset": 3.5, "x": "y"})),
        json.dumps(plan(options={"dataset": ["x"]})),
        json.dumps(plan(options={"dataset": None})),
        json.dumps(plan(options={"dataset": "a\0b"})),
        json.dumps(plan(options={"data-dir": "a\0b"})),
        json.dumps(plan(options=[])),
        json.dumps(plan(backends=[])),
        json.dumps(plan(backends=[{}])),
        json.dumps(plan(vary=[{"lr": ["0.1"], "seed": ["1", "2"]}])),
        json.dumps(plan(vary=[{"lr": []}])),
        json.dumps(plan(vary=[{}])),
        json.dumps(plan(vary=[{"out": ["a"]}])),
        json.dumps(plan(vary=[{"lr": [None]}])),
        json.dumps(plan(vary=3)),
    ],
)
def test_a_damaged_comparison_is_a_one_line_error(content, tmp_path, capsys):
    (tmp_path / "compare.json").write_text(content)
    message = refused(compare.main, ["--resume", "--out", tmp_path], capsys)
    assert message.startswith(f"error: '{tmp_path / 'compare.json'}' is not a comparison file: move it away")


def test_a_comparison_file_is_read_no_further_than_its_plan(tmp_path):
    with (tmp_path / "compare.json").open("wb") as file:
        file.write(json.dumps(plan()).encode())
        file.truncate(100 * 10**9)  # takes no space on most disks
    assert stored_plan(tmp_path) == Plan(["torch"], [], {"epochs": "1"}, False)


def test_a_plan_that_does_not_end_is_refused(tmp_path, capsys):
    (tmp_path / "compare.json").write_text('{"plan": [' + "[], " * MAX_PLAN)
    assert "is not a comparison file" in refused(compare.main, ["--resume", "--out", tmp_path], capsys)


# A checkpoint with many changed bytes


def test_changed_files_of_parameters_end_in_one_line_or_are_used(run, small_folder, capsys):
    """Half of the changes keep the lengths that the file gives, so that the parser reads on."""
    whole = (run / CHECKPOINT).read_bytes()
    end_of_header = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    for number in range(300):
        changed = bytearray(whole)
        for place in rng.integers(0 if number % 2 else 8, end_of_header, rng.integers(1, 6)):
            changed[place] = rng.choice(np.frombuffer(b'0123456789{}[]",:.eE-\\\x00\xff', np.uint8))
        (run / CHECKPOINT).write_bytes(changed)
        with suppress(UserError):  # nothing else is raised
            loaded, _ = load_checkpoint(run)
            history(loaded)
            json.dumps(summary(loaded))
            png(draw_curves(loaded.points, loaded.epochs_done, title(loaded)))

"""Every backend follows the definitions of the interface."""

import os
import re
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INSTALLED, UNKNOWN_BACKEND, needs, needs_two, random_split
from hypothesis import given, settings
from random_networks import architectures, random_parameters

from lenet_multi import backends
from lenet_multi.architecture import PRESETS, Architecture, Conv, Dense, Flatten, Pool, lenet
from lenet_multi.backends import (
    ALIASES,
    BACKENDS,
    NEWEST_PYTHON,
    canonical_name,
    choose_backends,
    load_backend,
    note_left_out,
)
from lenet_multi.backends.devices import choose_device
from lenet_multi.backends.layouts import channels_first_shape
from lenet_multi.checks.layer_shapes import measured_shapes
from lenet_multi.data import BatchSampler
from lenet_multi.errors import UserError
from lenet_multi.training.recorder import Recorder

ROOT = Path(__file__).parent.parent
LENET5 = PRESETS["lenet5"]
UNUSUAL = Architecture(
    (3, 13, 11),
    (
        Conv(5, 4, padding=2, activation="relu"),
        Pool("max", 3, 2),
        Conv(7, 3, padding=1, activation="tanh"),
        Pool("avg", 2, 1),
        Flatten(),
        Dense(9, "sigmoid"),
        Dense(10),
    ),
)


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("architecture", [LENET5, PRESETS["lenet5-max"], UNUSUAL], ids=["lenet5", "max", "unusual"])
def test_every_layers_output_shape_matches_the_description(name, architecture):
    layout, shapes = measured_shapes(name, architecture)
    measured = {layer: channels_first_shape(shape, layout)[1:] for layer, shape in shapes.items()}
    assert measured == architecture.output_shapes


@settings(max_examples=15, deadline=None)
@given(architecture=architectures())
def test_any_valid_description_gives_the_same_shapes_and_logits_in_every_backend(architecture):
    parameters = random_parameters(architecture)
    X = np.random.default_rng(0).random((2, *architecture.input_shape), np.float32)
    logits = []
    for name in INSTALLED:
        backend = load_backend(name)
        net = backend.LeNet(architecture, device="cpu")
        assert {n: p.shape for n, p in backend.get_parameters(net).items()} == architecture.parameter_shapes
        backend.set_parameters(net, parameters)
        outputs = backend.layer_outputs(net, X)
        shapes = {layer: channels_first_shape(output.shape, backend.LAYOUT)[1:] for layer, output in outputs.items()}
        assert shapes == architecture.output_shapes
        logits.append(outputs[list(outputs)[-1]])
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", [LENET5, UNUSUAL], ids=["lenet5", "unusual"])
def test_setting_and_getting_parameters_leaves_them_unchanged(backend, architecture):
    parameters = random_parameters(architecture)
    net = backend.LeNet(architecture, device="cpu")
    backend.set_parameters(net, parameters)
    returned = backend.get_parameters(net)
    assert list(returned) == list(parameters)
    for name, value in parameters.items():
        np.testing.assert_array_equal(returned[name], value)
        assert returned[name].dtype == np.float32


def test_training_without_an_epoch_to_train_is_refused(backend, small_data):
    net = backend.LeNet(LENET5, device="cpu")
    with pytest.raises(UserError, match="num_epochs 0, expected at least 1"):
        backend.train(net, small_data.train, small_data.test, num_epochs=0)
    with pytest.raises(UserError, match="num_epochs 2, expected more than the 2 already done"):
        backend.train(net, small_data.train, small_data.test, num_epochs=2, recorder=Recorder(first_epoch=2))


def test_set_parameters_copies(backend):
    """A framework may share the memory of an array that is aligned."""
    net = backend.LeNet(LENET5, device="cpu")
    given = {}
    for name, value in backend.get_parameters(net).items():
        memory = np.zeros(value.nbytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        given[name] = memory[start : start + value.nbytes].view(np.float32).reshape(value.shape)
        given[name][:] = value
    before = backend.get_parameters(net)
    backend.set_parameters(net, given)
    for array in given.values():
        array += 1
    for name, value in backend.get_parameters(net).items():
        assert (value == before[name]).all()


def test_get_parameters_returns_a_copy(backend):
    net = backend.LeNet(LENET5, device="cpu")
    backend.get_parameters(net)["conv1.weight"][:] = 0
    assert backend.get_parameters(net)["conv1.weight"].any()


def test_weights_start_xavier_uniform_and_biases_at_zero(backend):
    parameters = backend.get_parameters(backend.LeNet(LENET5, device="cpu"))
    for name, value in parameters.items():
        if name.endswith(".bias"):
            assert not value.any()
            continue
        receptive = int(np.prod(value.shape[2:]))
        bound = np.sqrt(6 / ((value.shape[0] + value.shape[1]) * receptive))
        assert np.abs(value).max() <= bound * (1 + 1e-6)
        # The largest of n uniform values is near the bound, and their variance is a third of the bound's square. The
        # smallest layer has 150 values.
        assert np.abs(value).max() > 0.95 * bound
        assert value.var() == pytest.approx(bound**2 / 3, rel=0.3)


def test_the_seed_determines_the_initial_weights(backend):
    first, again, other = (backend.get_parameters(backend.LeNet(LENET5, seed, "cpu")) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first["dense1.weight"], again["dense1.weight"])
    assert (first["dense1.weight"] != other["dense1.weight"]).any()


def numpy_batches(name, data, sampler):
    """The batches as NumPy arrays, X (n, C, H, W) and y (n,)."""
    backend = load_backend(name)
    for X, y in backend.batches(data, sampler):
        x = X.asnumpy() if hasattr(X, "asnumpy") else np.asarray(X)
        yield x.transpose(0, 3, 1, 2) if backend.LAYOUT == "NHWC" else x, np.asarray(y)


def test_all_backends_give_the_same_batches_of_scaled_pixels():
    data = random_split(70, (3, 5, 4))
    sampler = BatchSampler(70, 32, seed=5, epochs=(0, 1))
    runs = [list(numpy_batches(name, data, sampler)) for name in INSTALLED]
    expected = [(data.images[i] / np.float32(255), data.labels[i]) for i in sampler]
    assert [len(y) for _, y in expected] == [32, 32, 6] * 2
    for run in runs:
        assert len(run) == len(expected)
        for (X, y), (expected_X, expected_y) in zip(run, expected, strict=True):
            np.testing.assert_allclose(X, expected_X, rtol=2e-7)
            assert X.dtype == np.float32
            np.testing.assert_array_equal(y, expected_y)


def test_without_a_sampler_batches_cover_all_examples(backend):
    data = random_split(300, (1, 28, 28))
    assert [len(y) for _, y in backend.batches(data)] == [256, 44]


def test_batches_can_be_iterated_more_than_once(backend):
    batches = backend.batches(random_split(30, (1, 28, 28)), BatchSampler(30, 16, seed=1))
    first, again = ([np.asarray(y).tolist() for _, y in batches] for _ in range(2))
    assert first == again
    assert [len(y) for y in first] == [16, 14]


def test_a_sampler_without_epochs_gives_no_batches(backend):
    assert list(backend.batches(random_split(30, (1, 28, 28)), BatchSampler(30, 16, epochs=()))) == []


def test_the_timer_is_stopped_during_evaluation(backend, small_data, monkeypatch):
    owner, name = {
        "lenet_multi.backends.tensorflow": lambda: (backend.keras.Model, "evaluate"),
        "lenet_multi.fast.tensorflow": lambda: (backend.keras.Model, "test_on_batch"),
        "lenet_multi.fast.torch": lambda: (backend, "accuracy"),
        "lenet_multi.fast.mxnet": lambda: (backend.Parts, "accuracy"),
        "lenet_multi.fast.jax": lambda: (backend.CompiledNetwork, "accuracy"),
    }.get(backend.__name__, lambda: (backend, "evaluate_accuracy"))()
    evaluate, running = getattr(owner, name), []

    def watched(*arguments, **options):
        running.append(recorder.timer.running)
        return evaluate(*arguments, **options)

    monkeypatch.setattr(owner, name, watched)
    recorder = Recorder()
    backend.train(backend.LeNet(LENET5, device="cpu"), small_data.train, small_data.test, 2, recorder=recorder)
    assert running == [False, False]
    assert recorder.timer.seconds > 0


def test_evaluate_accuracy_counts_each_example_once(backend):
    data = random_split(70, (1, 28, 28))
    net = backend.LeNet(LENET5, device="cpu")
    X = data.images.astype(np.float32) / 255
    correct = (backend.layer_outputs(net, X)["dense3"].argmax(axis=1) == data.labels).sum()
    accuracy = backend.evaluate_accuracy(net, backend.batches(data, BatchSampler(70, 32)))
    assert accuracy == correct / 70


def test_evaluate_accuracy_in_torch_takes_a_list_of_inputs():
    import torch

    class Sum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, X):
            return self.scale * (X[0] + X[1])

    batch = ([torch.eye(4), torch.zeros(4, 4)], torch.tensor([0, 1, 2, 0]))
    assert load_backend("torch").evaluate_accuracy(Sum(), [batch]) == 0.75


def test_evaluate_accuracy_in_torch_leaves_no_gradients_and_sets_eval_mode():
    import torch

    backend = load_backend("torch")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(784, 10)).train()
    backend.evaluate_accuracy(net, backend.batches(random_split(20, (1, 28, 28))))
    assert not net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_equal_initial_weights_give_equal_curves_in_every_backend(small_data):
    architecture = lenet(activation="tanh")
    parameters = random_parameters(architecture, seed=1)
    curves = []
    for name, fast in product(INSTALLED, (False, True)):
        backend = load_backend(name, fast)
        net = backend.LeNet(architecture, device="cpu")
        backend.set_parameters(net, {name: value / 3 for name, value in parameters.items()})
        recorder = backend.train(net, small_data.train, small_data.test, 2, lr=0.1, batch_size=32, seed=7)
        curves.append(recorder.points)
    for other in curves[1:]:
        assert [point.epoch for point in other] == [point.epoch for point in curves[0]]
        for point, expected in zip(other, curves[0], strict=True):
            assert point.train_loss == pytest.approx(expected.train_loss, rel=1e-4)
            assert point.train_acc == pytest.approx(expected.train_acc, abs=1e-6)
            assert point.test_acc == expected.test_acc


def test_training_reports_five_times_per_epoch_and_closes_with_two_lines(backend, small_data, capsys):
    net = backend.LeNet(LENET5, device="cpu")
    recorder = backend.train(net, small_data.train, small_data.test, 2, batch_size=16, recorder=Recorder())
    # 200 examples are 13 batches of at most 16.
    assert [round(13 * point.epoch) for point in recorder.points] == [2, 5, 7, 10, 13, 15, 18, 20, 23, 26]
    assert [point.test_acc is not None for point in recorder.points] == [False, False, False, False, True] * 2
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("loss 2.")
    assert second.endswith(" examples/sec on cpu")


def test_the_means_weight_a_smaller_last_batch_by_its_size(backend):
    """With a learning rate near zero, the epoch's means equal those of a single batch with all examples."""
    data = random_split(50, (1, 28, 28))
    means = []
    for batch_size in (32, 50):
        net = backend.LeNet(LENET5, seed=1, device="cpu")
        means.append(backend.train(net, data, data, 1, lr=1e-9, batch_size=batch_size).points[-1])
    assert means[0].train_loss == pytest.approx(means[1].train_loss, rel=1e-5)
    assert means[0].train_acc == pytest.approx(means[1].train_acc)


def compile_in_scope(net):
    with net.distribute_strategy.scope():
        net.compile(optimizer="adam", loss="sparse_categorical_crossentropy")


def compile_outside_scope(net):
    net.compile(optimizer="adam", loss="sparse_categorical_crossentropy")


def fit_once(compile_net):
    net = load_backend("tensorflow").LeNet(LENET5, device="cpu")
    compile_net(net)
    data = random_split(8, (1, 28, 28))
    return net.fit(data.images.transpose(0, 2, 3, 1) / np.float32(255), data.labels, verbose=0).history["loss"]


@needs("tensorflow")
def test_a_keras_network_trains_with_another_optimizer_compiled_in_its_strategys_scope():
    assert np.isfinite(fit_once(compile_in_scope)).all()


@needs("tensorflow")
def test_another_optimizer_compiled_outside_the_strategys_scope_fails():
    with pytest.raises(RuntimeError, match=r"Mixing different tf.distribute.Strategy objects"):
        fit_once(compile_outside_scope)


def test_the_learning_rate_may_be_an_integer(backend, small_data):
    net = backend.LeNet(LENET5, device="cpu")
    backend.train(net, small_data.train, small_data.test, num_epochs=1, lr=1)


def test_aliases_resolve_to_canonical_names():
    aliases = {"pytorch": "torch", "keras": "tensorflow", "gluon": "mxnet", "flax": "jax"}
    assert {alias: canonical_name(alias) for alias in ALIASES} == aliases


def test_the_error_for_an_unknown_backend_lists_the_known_ones():
    with pytest.raises(UserError, match=UNKNOWN_BACKEND):
        load_backend("caffe")


@pytest.fixture
def nothing_installed(monkeypatch):
    """No framework is installed, and every framework supports this Python."""
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    monkeypatch.setattr(backends, "NEWEST_PYTHON", {})


@pytest.mark.parametrize("name", BACKENDS)
def test_without_a_choice_the_first_installed_backend_is_taken(name, monkeypatch):
    packages = backends.packages_of(*list(BACKENDS)[list(BACKENDS).index(name) :])
    monkeypatch.setattr(backends, "_is_installed", lambda package: package in packages)
    assert backends.default_backend() == name


def test_without_a_backend_the_default_is_pytorch(nothing_installed):
    assert backends.default_backend() == "torch"


@pytest.mark.parametrize("name", BACKENDS)
def test_the_error_for_a_missing_framework_names_its_extra(name, nothing_installed):
    with pytest.raises(UserError, match=rf'needs {BACKENDS[name]}: pip install "lenet-multi\[{name}\]"'):
        load_backend(name)


@needs_two
@pytest.mark.parametrize("names", [INSTALLED, INSTALLED[::-1]], ids=" then ".join)
def test_all_frameworks_work_in_one_process_in_either_order(names):
    """PyTorch's compiler too: its GPU version loads Triton with it, whose LLVM is not that of TensorFlow and JAX."""
    code = f"""
import numpy as np
from lenet_multi import PRESETS, load_backend
loaded = [load_backend(name) for name in {names}]
import torch._dynamo
for backend in loaded:
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    print(backend.loss_and_gradients(net, np.zeros((4, 1, 28, 28), np.float32), np.zeros(4, np.int64))[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Without an input, all logits are small: the loss is near ln 10.
    assert [float(loss) for loss in done.stdout.split()] == pytest.approx([2.3] * len(names), abs=1)


@needs("jax")
@pytest.mark.parametrize(("own", "kept"), [(None, "false"), ("true", "true")])
def test_jax_reserves_no_memory_of_a_gpu_unless_the_user_wants_it(own, kept):
    """JAX reads the variable when it creates its devices: it must be set before that, and not for child processes."""
    variable = "XLA_PYTHON_CLIENT_PREALLOCATE"
    environment = {name: value for name, value in os.environ.items() if name != variable}
    code = f"""
import os, sys
from lenet_multi.system.process import child_environment
class Watch:
    def find_spec(self, name, *_):
        if name == "jaxlib":  # what jax imports first
            print(os.environ.get({variable!r}))
sys.meta_path.insert(0, Watch())
from lenet_multi import load_backend
load_backend("jax")
print(child_environment().get({variable!r}))
"""
    given = {} if own is None else {variable: own}
    done = subprocess.run([sys.executable, "-c", code], env=environment | given, capture_output=True, text=True)
    assert done.stdout.split() == [kept, str(own)], done.stderr


@needs("jax")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts the threads that Linux lists")
def test_the_variable_for_jaxs_threads_limits_them():
    code = "import os, lenet_multi; lenet_multi.load_backend('jax'); print(len(os.listdir('/proc/self/task')))"
    counts = []
    for threads in ("1", "5"):
        environment = os.environ | {backends.THREAD_VARIABLES["jax"]: threads}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        counts.append(int(done.stdout))
    assert counts[0] + 4 <= counts[1]


@needs("jax")
@pytest.mark.parametrize("platforms", ["nothing", "cuda"])
def test_a_platform_that_jax_cannot_use_is_an_error_of_one_line(platforms):
    """Without CUDA's plugin, `cuda` is no platform either."""
    code = "import lenet_multi; lenet_multi.load_backend('jax')"
    environment = os.environ | {"JAX_PLATFORMS": platforms}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lenet_multi.errors.UserError: JAX cannot start (")
    assert last.endswith("): set JAX_PLATFORMS to cpu, or to cuda,cpu for a GPU")


@needs("jax")
def test_jax_has_dropout_in_training_and_none_in_evaluation(small_data):
    backend: Any = load_backend("jax")
    net = backend.LeNet(PRESETS["lenet5"], device="cpu")
    dropout = backend.nnx.Dropout(0.5, rngs=backend.nnx.Rngs(0))
    net.layers[1] = backend.nnx.data(dropout)
    modes = []
    recorder = Recorder(show=lambda points: modes.append(dropout.deterministic))
    backend.train(net, small_data.train, small_data.test, 2, recorder=recorder)
    assert False in modes
    assert dropout.deterministic


THIS_PYTHON = "{}.{}".format(*sys.version_info)


def test_the_error_for_a_framework_without_wheels_for_the_platform_says_so(nothing_installed, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(backends.platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(backends.platform, "system", lambda: "Windows")
    with pytest.raises(UserError) as caught:
        load_backend("mxnet")
    assert str(caught.value) == (
        "the mxnet backend needs MXNet, which has no wheels for Windows on AMD64: choose another backend"
    )


def test_the_error_for_a_framework_that_does_not_support_this_python_names_an_older_one(nothing_installed, monkeypatch):
    monkeypatch.setitem(backends.NEWEST_PYTHON, "mxnet", (3, 10))
    with pytest.raises(UserError) as caught:
        load_backend("gluon")
    assert str(caught.value) == (
        f"the mxnet backend needs MXNet, which supports Python up to 3.10, not {THIS_PYTHON}: "
        "create an environment with Python 3.10, or choose another backend"
    )


REINSTALL = 'reinstall it with pip install "lenet-multi[mxnet]"'
REMOVED = "`np.PZERO` was removed in the NumPy 2.0 release."


@pytest.mark.parametrize(
    ("problem", "newest", "told"),
    [
        (ImportError("no\nlibrary"), {}, f"(no library): {REINSTALL}"),
        (OSError("libgomp.so.1"), {}, f"(libgomp.so.1): {REINSTALL}"),
        (AttributeError(REMOVED), {}, f'({REMOVED}): pip install "numpy<2"'),
        (ImportError("no module", name="distutils"), {}, "(no module): pip install setuptools"),
        (
            ImportError("no module", name="distutils"),
            {"mxnet": (3, 10)},
            f"(no module; it supports Python up to 3.10, not {THIS_PYTHON}): "
            "create an environment with Python 3.10, or choose another backend",
        ),
    ],
)
def test_the_error_for_a_framework_that_cannot_be_imported_says_what_to_do(problem, newest, told, monkeypatch):
    def fail(module):
        raise problem

    monkeypatch.setattr(backends, "require_installed", canonical_name)
    monkeypatch.setattr(backends, "import_module", fail)
    monkeypatch.setattr(backends, "NEWEST_PYTHON", newest)
    with pytest.raises(UserError) as caught:
        load_backend("mxnet")
    assert str(caught.value) == f"MXNet is installed but cannot be imported {told}"


def test_an_error_in_the_code_of_a_backend_is_raised_as_it_is(monkeypatch):
    def fail(module):
        raise AttributeError("module 'torch' has no attribute 'nm'")

    monkeypatch.setattr(backends, "import_module", fail)
    with pytest.raises(AttributeError, match="has no attribute 'nm'"):
        load_backend("torch")


def test_all_chooses_the_installed_backends_and_says_which_are_left_out(nothing_installed, monkeypatch, capsys):
    monkeypatch.setattr(backends, "installed_backends", lambda: ("torch",))
    monkeypatch.setitem(backends.NEWEST_PYTHON, "mxnet", (3, 10))
    chosen, left_out = choose_backends("all")
    assert (chosen, left_out) == (("torch",), tuple(name for name in BACKENDS if name != "torch"))
    note_left_out(left_out)
    reasons = {name: f'not installed: pip install "lenet-multi[{name}]"' for name in left_out}
    reasons["mxnet"] = f"MXNet supports Python up to 3.10, not {THIS_PYTHON}"
    told = ", ".join(f"{name} ({reason})" for name, reason in reasons.items())
    assert capsys.readouterr().err == f"note: left out: {told}\n"
    note_left_out(())
    assert capsys.readouterr().err == ""


def test_named_backends_are_chosen_once_each_or_refused(monkeypatch):
    monkeypatch.setattr(backends, "installed_backends", lambda: ("torch", "mxnet"))
    assert choose_backends("gluon,torch,mxnet") == (("mxnet", "torch"), ())
    with pytest.raises(UserError, match="the tensorflow backend needs TensorFlow"):
        choose_backends("torch,keras")
    with pytest.raises(UserError, match="unknown backend 'caffe'"):
        choose_backends("torch,caffe")


def test_all_backends_where_none_is_installed_is_refused(nothing_installed):
    with pytest.raises(UserError, match=r'no framework is installed: pip install "lenet-multi\[all\]"'):
        choose_backends("all")


def framework_requirement(name: str) -> str:
    """The requirement in pyproject.toml that installs a backend's framework."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (requirement,) = (text for text in extras[name] if re.match(rf"{name}\b", text))
    return requirement


@pytest.mark.parametrize("name", BACKENDS)
def test_the_newest_python_of_a_framework_is_where_its_marker_ends(name):
    ends = re.findall(r"python_version < '3\.(\d+)'", framework_requirement(name))
    assert [(3, int(minor) - 1) for minor in ends] == [NEWEST_PYTHON[name]] if name in NEWEST_PYTHON else not ends


@pytest.mark.parametrize("path", sorted((ROOT / "constraints").glob("*.txt")), ids=lambda path: path.stem)
def test_the_versions_for_a_python_are_those_of_the_frameworks_that_support_it(path):
    python = tuple(map(int, path.stem.split(".")))
    pinned = {line.partition("==")[0] for line in path.read_text().splitlines()}
    assert pinned & BACKENDS.keys() == {name for name in BACKENDS if python <= NEWEST_PYTHON.get(name, python)}


def test_there_are_versions_for_the_newest_python_of_every_framework():
    pythons = {tuple(map(int, path.stem.split("."))) for path in (ROOT / "constraints").glob("*.txt")}
    assert set(NEWEST_PYTHON.values()) < pythons


def test_a_folder_with_a_frameworks_name_is_not_an_installed_framework(tmp_path, monkeypatch):
    (tmp_path / "jaxlike").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(backends, "BACKENDS", {"jaxlike": "Jaxlike"})
    assert backends.installed_backends() == ()


@pytest.mark.parametrize(
    ("requested", "available", "chosen"),
    [
        ("auto", ["cpu"], "cpu"),
        ("auto", ["gpu:0", "gpu:1", "cpu"], "gpu:0"),
        ("cpu", ["gpu:0", "cpu"], "cpu"),
        ("gpu", ["gpu:0", "gpu:1", "cpu"], "gpu:0"),
        ("gpu:1", ["gpu:0", "gpu:1", "cpu"], "gpu:1"),
    ],
)
def test_a_device_is_chosen_from_those_that_the_framework_sees(requested, available, chosen):
    assert choose_device(requested, available, "Framework") == chosen


@pytest.mark.parametrize("device", ["tpu", "gpu:", "cpu:0"])
def test_an_unknown_device_is_refused(backend, device):
    with pytest.raises(UserError, match=f"unknown device '{device}': choose auto, cpu, gpu, or gpu:N"):
        backend.LeNet(LENET5, device=device)


def test_an_unavailable_device_is_refused(backend):
    message = f"device 'gpu:7' is not available in {backend.FRAMEWORK}: choose one of auto, .*cpu"
    with pytest.raises(UserError, match=message):
        backend.LeNet(LENET5, device="gpu:7")

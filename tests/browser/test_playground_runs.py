"""Tests that the playground takes other runs as side B, and refuses what does not fit, is damaged or hostile."""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pad import FRAME, by, choose, cleared
from playwright.sync_api import Page, expect
from small_runs import GARMENTS, GREY, write_run

from lenet_multi.architecture import lenet
from lenet_multi.checks.float64_reference import forward
from lenet_multi.interactive.page_data import MOST_POINTS
from lenet_multi.runs.checkpoint import CHECKPOINT, Segment, load_checkpoint, save_checkpoint
from lenet_multi.runs.weights import load_network
from lenet_multi.training.points import Point, thinned

Header = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A run of another network."""
    network = lenet(conv_channels=(3, 4), activation="relu", pooling="max", dense_units=())
    return write_run(tmp_path_factory.mktemp("runs") / "other", network, seed=1)


def test_another_run_becomes_side_b(play, run, other):
    page = cleared(play(run))
    choose(page, other)
    expect(page.get_by_text("Side B is now PyTorch: model.safetensors.")).to_be_visible()
    assert shows_b(page)
    cells = page.get_by_role("row", name=GARMENTS[0]).get_by_role("cell").last
    logits = [forward_of(path)[0] for path in (run, other)]
    shown = [f"{side} {logit:.2f}".replace("-", "\N{MINUS SIGN}") for side, logit in zip("AB", logits, strict=True)]
    expect(cells).to_have_text("".join(shown))


def shows_b(page: Page) -> bool:
    """Whether the prediction has the numbers of two networks."""
    page.evaluate(FRAME)
    return page.locator(".prediction .of-side").count() > 0


def forward_of(path: Path) -> np.ndarray:
    """The logits for a black image."""
    architecture, parameters, _ = load_network(path, None)
    outputs = forward(architecture, parameters, np.zeros((1, *architecture.input_shape)))
    return list(outputs.values())[-1][0]


def test_the_same_file_can_be_given_again(play, run, other):
    page = play(run)
    choose(page, other)
    expect(page.get_by_text("Side B is now PyTorch: model.safetensors.")).to_be_visible()
    choose(page, other)
    expect(page.get_by_text("Side B is now PyTorch: model.safetensors (2).")).to_be_visible()


def test_names_of_files_are_shown_as_text(play, run, other, tmp_path):
    page = play(run)
    path = Path(shutil.copy(other, tmp_path / "<img src=x onerror=alert(1)>.safetensors"))
    choose(page, path)
    expect(page.get_by_text(f"Side B is now PyTorch: {path.name}.")).to_be_visible()
    assert page.locator("img").count() == 0


def renamed(number: int, name: str) -> tuple[str, ...]:
    return tuple(name if label == number else known for label, known in enumerate(GARMENTS))


@pytest.mark.parametrize(
    ("network", "names", "says"),
    [
        (
            lenet(input_shape=(1, 32, 28), conv_channels=(2,)),
            GARMENTS,
            f"takes images of {by(1, 32, 28)}, and the networks",
        ),
        (
            lenet(input_shape=(3, 28, 28), conv_channels=(2,)),
            GARMENTS,
            f"takes images of {by(3, 28, 28)}, and the networks",
        ),
        (lenet(conv_channels=(2,), num_classes=9), GARMENTS[:9], "has 9 classes, and the networks here have 10"),
        (GREY, renamed(3, "kimono"), "its class 4 is “kimono”, and here it is “dress”"),
        (GREY, renamed(9, "x" * 100_000), f"its class 10 is “{'x' * 59}…”, and here it is “ankle boot”"),
    ],
    ids=["size", "channels", "number of classes", "class", "long class"],
)
def test_a_run_for_other_data_is_refused(play, run, tmp_path, network, names, says):
    page = play(run)
    choose(page, write_run(tmp_path / "run", network, names))
    expect(page.get_by_role("alert")).to_contain_text(says)
    assert not shows_b(page)


def test_a_run_that_does_not_name_its_classes_is_taken(play, run, tmp_path):
    page = play(run)
    choose(page, write_run(tmp_path / "run", names=()))
    expect(page.get_by_text("Side B is now PyTorch: model.safetensors.")).to_be_visible()


# Hostile files


def container(header: Header | bytes, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def with_header(change: Callable[[Header], Any]) -> Callable[[Header, bytes], bytes]:
    """A file whose header is changed; what is returned, if anything, takes its place."""

    def made(header: Header, data: bytes) -> bytes:
        return container(change(header) or header, data)

    return made


def with_network(change: Callable[[Header], Any]) -> Callable[[Header, bytes], bytes]:
    """A file whose description of the network is changed; what is returned, if anything, takes its place."""

    def made(header: Header, data: bytes) -> bytes:
        described = json.loads(header["__metadata__"]["architecture"])
        described = change(described) or described
        header["__metadata__"]["architecture"] = described if isinstance(described, str) else json.dumps(described)
        return container(header, data)

    return made


def with_layer(number: int, **settings: Any) -> Callable[[Header, bytes], bytes]:
    return with_network(lambda described: described["layers"][number].update(settings))


def with_array(name: str, **settings: Any) -> Callable[[Header, bytes], bytes]:
    return with_header(lambda header: header[name].update(settings))


def with_metadata(**settings: Any) -> Callable[[Header, bytes], bytes]:
    return with_header(lambda header: header["__metadata__"].update(settings))


def with_number(value: float) -> Callable[[Header, bytes], bytes]:
    return lambda header, data: container(header, struct.pack("<f", value) + data[4:])


def many_layers(described: Header) -> None:
    conv = {"layer": "conv", "channels": 40, "kernel_size": 27, "padding": 13, "activation": None}
    described["layers"] = [conv] * 90 + described["layers"][-3:]


def overlapping(header: Header) -> None:
    for name in ("dense1.bias", "dense2.bias"):
        first = header["dense1.weight"]["data_offsets"][0]
        header[name]["data_offsets"] = [first, first + 4 * math.prod(header[name]["shape"])]


DEEP = b"[" * 2_000_000 + b"]" * 2_000_000
NETWORK = "does not describe its network"
HOSTILE = {
    "empty": (lambda header, data: b"", "not a safetensors file"),
    "zeros": (lambda header, data: bytes(100), "not a safetensors file"),
    "a huge length": (lambda header, data: container(header, data, 2**64 - 1), "not a safetensors file"),
    "a length beyond the end": (lambda header, data: container(header, b"", 2**20), "not a safetensors file"),
    "no JSON": (with_header(lambda header: b"{" + b"x" * 90), "not a safetensors file"),
    "no UTF-8": (with_header(lambda header: b'{"\xff": 1}'), "not a safetensors file"),
    "a list": (with_header(lambda header: b"[1, 2, 3]"), NETWORK),
    "null": (with_header(lambda header: b"null"), "not a safetensors file"),
    "deep": (with_header(lambda header: b'{"a":' + DEEP + b"}"), NETWORK),
    "no metadata": (with_header(lambda header: header.pop("__metadata__") and None), NETWORK),
    "metadata as a number": (with_header(lambda header: header.update(__metadata__=5)), NETWORK),
    "a network as a number": (with_metadata(architecture=5), "its input shape"),
    "a network with toString": (with_metadata(architecture={"toString": 1}), NETWORK),
    "a deep network": (with_network(lambda _: DEEP.decode()), "its input shape"),
    "NaN": (with_network(lambda described: described.update(input_shape=[1, math.nan, 28])), NETWORK),
    "a shape as text": (with_network(lambda described: described.update(input_shape="1,28,28")), "its input shape"),
    "sides as text": (with_network(lambda described: described.update(input_shape=[1, "28", 28])), "its input shape"),
    "huge sides": (with_network(lambda described: described.update(input_shape=[1, 1e308, 1e308])), "its input shape"),
    "half a pixel": (with_network(lambda described: described.update(input_shape=[1, 28.5, 28])), "its input shape"),
    "__proto__": (with_network(lambda _: '{"__proto__": {"input_shape": [1, 28, 28]}}'), "its input shape"),
    "layers as an object": (with_network(lambda described: described.update(layers={"length": 3})), "layers"),
    "a null layer": (with_network(lambda described: described["layers"].append(None)), "unknown kind"),
    "a layer __proto__": (with_layer(0, layer="__proto__"), "unknown kind"),
    "an activation": (with_layer(0, activation={"toString": 1}), "an unknown setting"),
    "an inherited activation": (with_layer(0, activation="constructor"), "an unknown setting"),
    "a stride of zero": (with_layer(1, stride=0), "an unknown setting"),
    "many channels": (with_layer(0, channels=5000), "too large for this page"),
    "millions of channels": (with_layer(0, channels=4_000_000), "too large for this page"),
    "a huge kernel": (with_layer(0, kernel_size=3000, padding=3000), "too large for this page"),
    "much padding": (with_layer(0, padding=200_000), "too large for this page"),
    "many layers": (with_network(many_layers), "too large for this page"),
    "very many layers": (with_network(lambda d: d.update(layers=d["layers"][:1] * 101)), "1 to 100 layers"),
    "a large dense layer": (with_layer(3, units=1_000_000), "too large for this page"),
    "no last layer": (with_network(lambda described: described["layers"].pop() and None), "does not output logits"),
    "an array less": (with_header(lambda header: header.pop("conv1.bias") and None), "no conv1.bias of 2 float32"),
    "an array more": (with_header(lambda header: header.update(x=header["conv1.bias"])), "does not have"),
    "an array __proto__": (
        with_header(lambda header: header.update(__proto__=header["conv1.bias"])),
        "does not have",
    ),
    "an array that is null": (with_header(lambda header: header.update({"conv1.bias": None})), "no conv1.bias"),
    "float64": (with_array("conv1.bias", dtype="F64"), "no conv1.bias of 2 float32"),
    "a shape": (with_array("conv1.weight", shape=[50]), f"no conv1.weight of {by(2, 1, 5, 5)} float32"),
    "a deep shape": (
        with_header(lambda h: json.dumps(h).encode().replace(b'"shape": [2]', b'"shape": ' + DEEP, 1)),
        "no conv1.bias of 2 float32",
    ),
    "offsets as text": (with_array("conv1.bias", data_offsets=["0", "0x8"]), "no conv1.bias"),
    "one offset as text": (with_array("conv1.bias", data_offsets=[0, "0x8"]), "no conv1.bias"),
    "negative offsets": (with_array("conv1.bias", data_offsets=[-8, 0]), "no conv1.bias"),
    "offsets beyond the end": (with_array("conv1.bias", data_offsets=[2**40, 2**40 + 8]), "overlap, or have gaps"),
    "huge offsets": (with_array("conv1.bias", data_offsets=[1e308, 1e308]), "no conv1.bias"),
    "overlapping arrays": (with_header(overlapping), "overlap, or have gaps"),
    "truncated": (lambda header, data: container(header, data[:-4]), "truncated"),
    "more numbers": (lambda header, data: container(header, data + bytes(4)), "more numbers than its network"),
    "a parameter NaN": (with_number(math.nan), "is not finite everywhere"),
    "an infinite parameter": (with_number(math.inf), "is not finite everywhere"),
    "no JSON of the run": (with_metadata(run="{"), "its metadata is damaged"),
}
STRANGE = {
    "points as text": '{"points": "many"}',
    "points that are none": '{"points": [null, 5, {"epoch": "1"}, {"epoch": -1}, {"epoch": 1, "test_acc": "x"}]}',
    "huge points": '{"points": [{"epoch": 1e308, "train_loss": 1e308, "train_acc": -5, "test_acc": 1e308}]}',
    "losses of zero": '{"points": [{"epoch": 1, "train_loss": 0}, {"epoch": 2, "train_loss": 0}]}',
    "no losses": '{"points": [{"epoch": 1}, {"epoch": 2, "test_acc": 0.5}]}',
    "epochs of zero": '{"points": [{"epoch": 0, "train_loss": 1}, {"epoch": 0, "train_loss": 2}]}',
    "tiny numbers": '{"points": [{"epoch": 1e-323, "train_loss": 5e-324}]}',
    "many points": json.dumps(
        {"points": [{"epoch": n / 100, "train_loss": 1, "test_acc": 0.5} for n in range(200_000)]}
    ),
    "settings as a list": '{"settings": [1], "segments": 5}',
    "settings that are none": '{"settings": {"dataset": {}, "batch_size": "9", "lr": 1e999, "lr_drop": []}}',
    "segments that are none": '{"segments": [null, 3, {"backend": {}, "framework_version": 1, "loop": "__proto__"}]}',
    "classes as numbers": '{"class_names": [1, 2, 3]}',
    "classes as an object": '{"class_names": {"length": 10}}',
    "deep classes": f'{{"class_names": {DEEP.decode()}}}',
    "a deep run": DEEP.decode(),
    "a framework": '{"backend": {"toString": 1}, "class_names": []}',
    "a number": "5",
    "__proto__": '{"__proto__": {"points": 5}, "constructor": 1}',
}


def parts(path: Path) -> tuple[Header, bytes]:
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:end]), content[end:]


def works(page: Page) -> bool:
    """Whether a dot on the pad changes what the page shows."""
    maps = "() => [...document.querySelectorAll('.maps canvas')].map(canvas => canvas.toDataURL()).join()"
    before = cleared(page).evaluate(maps)
    page.locator(".board").focus()
    page.keyboard.press("Space")
    page.wait_for_function(f"before => ({maps})() !== before", arg=before)
    return True


def give(page: Page, content: bytes) -> None:
    page.get_by_label("Open a picture or a run").set_input_files(
        {"name": "hostile.safetensors", "mimeType": "", "buffer": content}
    )


def test_hostile_files_are_refused_in_a_sentence(play, run):
    page = play(run)
    for name, (make, says) in HOSTILE.items():
        give(page, make(*parts(run)))
        expect(page.get_by_role("alert"), name).to_contain_text(says)
        expect(page.get_by_role("alert"), name).to_contain_text("hostile.safetensors")
        assert not shows_b(page), name
        page.get_by_label("Open a picture or a run").set_input_files(
            {"name": "note.txt", "mimeType": "", "buffer": b"note"}
        )
        expect(page.get_by_role("alert"), name).to_have_text(
            "note.txt is not a PNG or JPEG picture, and not the model.safetensors of a run."
        )
    assert works(page)


@pytest.mark.parametrize("described", STRANGE.values(), ids=STRANGE)
def test_strange_metadata_does_no_harm(play, run, described):
    page = play(run)
    header, data = parts(run)
    header["__metadata__"]["run"] = described
    give(page, container(header, data))
    expect(page.get_by_text("Side B is now hostile.safetensors.")).to_be_visible()
    assert works(page)
    for side in ("B", "A"):
        page.locator(".sides").get_by_label(side, exact=True).select_option(label="hostile.safetensors")
        for tab in page.get_by_role("tab").all():
            tab.click()
            assert works(page)
    assert page.locator(".epochs .curve.loss circle").count() <= 200


def test_long_curves_of_a_file_are_thinned(play, run):
    page = play(run)
    header, data = parts(run)
    points = [Point(n / 4, float(n), 0.5, 0.5 if n % 4 == 0 else None) for n in range(1, 4001)]
    header["__metadata__"]["run"] = json.dumps({"points": [asdict(point) for point in points]})
    give(page, container(header, data))
    expect(page.get_by_text("Side B is now hostile.safetensors.")).to_be_visible()
    page.get_by_role("tab", name="Epochs").click()
    page.locator(".epochs").get_by_label("Network").select_option("b")
    line = page.locator(".epochs .curve.loss path").first.get_attribute("d") or ""
    kept = thinned(points, MOST_POINTS)
    assert line.count("L") + 1 == len(kept)
    name = page.locator(".epochs .curves svg").get_attribute("aria-label") or ""
    assert f"from epoch {kept[0].epoch:.1f} to 1000.0" in name


def trained_run(folder: Path, **settings: Any) -> Path:
    """A run that tells how it was trained, by two frameworks, the second of which has a long version."""
    run, parameters = load_checkpoint(write_run(folder / "written").parent)
    part = Segment("torch", "PyTorch", "2.13.0", "cpu", 0, 1, 9.0, 1.0, 1.0, None, "plain")
    version = "1.9.1" + "x" * 100
    last = replace(part, backend="mxnet", framework_version=version, first_epoch=1, epochs_done=2, loop="fast")
    points = [Point(1.0, 2.0, 0.25, 0.25), Point(2.0, 1.0, 0.5, 0.5)]
    chosen = replace(run.settings, epochs=2, **settings)
    (folder / "trained").mkdir()
    trained = replace(run, settings=chosen, segments=[part, last], points=points)
    save_checkpoint(folder / "trained", trained, parameters)
    return folder / "trained" / CHECKPOINT


@pytest.mark.parametrize("settings", [{}, {"lr": 1 / 3, "lr_decay_epoch": 1}], ids=["constant", "decay"])
def test_a_given_run_has_the_facts_that_it_has_on_a_page_of_its_own(play, tmp_path, settings):
    file = trained_run(tmp_path, **settings)
    page = play(file)
    choose(page, file)
    expect(page.get_by_text("Side B is now PyTorch: model.safetensors.")).to_be_visible()
    facts = page.locator(".sides .picker .quiet").all_inner_texts()
    assert facts[0].startswith("PyTorch 2.13.0, MXNet 1.9.1xxx")
    assert facts[1] == facts[0]
    assert facts[0].endswith("plain loop, fast loop. Test accuracy 50.0%.")


STRANGE_NAMES = (
    "\N{GRINNING FACE}" * 61,
    "x" * 59 + "\N{GRINNING FACE}" * 2,
    "x" * 58 + " " + "\N{GRINNING FACE}" * 2,
    "",
    "  \n ",
    "a\x00b\x1cc\x85d",
    "\N{ZERO WIDTH NO-BREAK SPACE}bom ",
    "one\N{EM SPACE}two\N{NO-BREAK SPACE}\tthree\N{LINE SEPARATOR}",
    "\ud83d half",
    "y" * 100_000,
)


def test_a_run_with_strange_names_of_classes_can_be_compared_with_itself(play, tmp_path):
    file = write_run(tmp_path / "run", names=STRANGE_NAMES)
    page = play(file)
    choose(page, file)
    expect(page.get_by_text("Side B is now PyTorch: model.safetensors.")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_empty()


def test_the_largest_parameters_do_not_break_the_page(play, run):
    page = play(run)
    header, data = parts(run)
    largest = np.full(len(data) // 4, np.finfo(np.float32).max, "<f4")
    give(page, container(header, largest.tobytes()))
    expect(page.get_by_text("Side B is now PyTorch: hostile.safetensors.")).to_be_visible()
    assert works(page)

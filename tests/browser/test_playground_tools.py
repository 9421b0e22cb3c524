"""Tests the tools of the network playground: where a number comes from, kernels, two networks side by side."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from chromium import DESKTOP, PHONE, TOO_WIDE
from playwright.sync_api import Locator, Page, expect
from small_runs import GARMENTS, write_run

from lenet_multi.architecture import Architecture, lenet
from lenet_multi.checks.float64_reference import forward, log_softmax
from lenet_multi.runs.weights import load_network

MEAN = lenet(conv_channels=(2, 3), kernel_sizes=(5, 3), paddings=(2, 0), dense_units=(16,), activation="tanh")
LARGEST = lenet(
    conv_channels=(2, 3), kernel_sizes=(3,), paddings=(1,), dense_units=(16,), activation="relu", pooling="max"
)
OTHER = lenet(conv_channels=(4,), kernel_sizes=(3,), dense_units=(12, 16))
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
DIFFERENCE = f"A {MINUS} B"
NUMBER = re.compile(rf"{MINUS}?\d+(?:\.\d+)?(?:e[-+{MINUS}]\d+)?")
ROUNDING = 6e-4  # of a number with three digits


@dataclass(frozen=True)
class Network:
    """A network in a file, and what the reference computes with it."""

    file: Path
    architecture: Architecture
    parameters: dict[str, np.ndarray]

    def outputs(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {name: output[0] for name, output in forward(self.architecture, self.parameters, image[None]).items()}


def write_network(folder: Path, architecture: Architecture, seed: int = 0) -> Network:
    file = write_run(folder, architecture, seed=seed)
    return Network(file, architecture, load_network(file, None)[1])


def choose_image(page: Page) -> np.ndarray:
    """Choose the first test image that the page offers, and return it."""
    press(page, page.locator(".examples button").first)
    images = json.loads(page.locator("#data").text_content() or "")["images"]
    first = images["labels"].index(min(images["labels"]))
    pixels = np.frombuffer(b64decode(images["pixels"]), np.uint8)
    return pixels.reshape(len(images["labels"]), 1, 28, 28)[first] / 255


def picture(page: Page, layer: str, channel: int | None = None, side: str = "") -> Locator:
    """The picture of a channel's map in the network, or of a vector."""
    row = page.get_by_role("group", name=f"{layer} {side}".strip(), exact=True)
    return row.locator("canvas").nth(channel or 0)


def drawn(page: Page) -> None:
    """Wait for the next frame: by then, the page has drawn what has changed."""
    page.evaluate("() => new Promise(requestAnimationFrame)")


def press(page: Page, button: Locator) -> None:
    button.click()
    drawn(page)


def point(page: Page, canvas: Locator, y: int, x: int, height: int, width: int) -> None:
    """Click the number in a row and a column of a picture."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    canvas.click(position={"x": (x + 0.5) / width * box["width"], "y": (y + 0.5) / height * box["height"]})
    drawn(page)


def numbers(text: str) -> list[float]:
    return [float(found.replace(MINUS, "-")) for found in NUMBER.findall(text)]


def line(page: Page) -> str:
    return page.locator(".pointed-line").inner_text()


def equations(page: Page) -> list[list[float]]:
    """The numbers of each line of the calculation, without those in names such as `conv1`."""
    return [numbers(text) for text in page.locator(".equations p").all_inner_texts()]


def heat(page: Page, number: int) -> np.ndarray:
    """The numbers that one of the tables of a window shows."""
    return np.array(numbers(" ".join(page.locator(".number table.heat").nth(number).locator("td").all_inner_texts())))


def padded_window(maps: np.ndarray, y: int, x: int, size: int, padding: int) -> np.ndarray:
    padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    return padded[:, y : y + size, x : x + size].reshape(len(maps), -1)


@pytest.mark.parametrize(("y", "x"), [(4, 7), (0, 0)], ids=["inside", "corner"])
def test_the_numbers_of_a_convolution_add_up(y, x, play, tmp_path):
    network = write_network(tmp_path / "run", LARGEST)
    page = play(network.file)
    outputs = network.outputs(choose_image(page))
    point(page, picture(page, "conv2", 1), y, x, 14, 14)
    weight = network.parameters["conv2.weight"][1].reshape(2, -1)
    window = padded_window(outputs["pool1"], y, x, 3, 1)
    sums = []
    for channel in range(2):
        press(page, page.get_by_role("button", name=f"channel {channel + 1}", exact=True))
        inputs, kernel, products = (heat(page, number) for number in range(3))
        np.testing.assert_allclose(inputs, window[channel], atol=ROUNDING)
        np.testing.assert_allclose(kernel, weight[channel], atol=ROUNDING)
        np.testing.assert_allclose(products, window[channel] * weight[channel], atol=ROUNDING)
        sums.append(numbers(page.locator(".channels tbody tr").nth(channel).locator("td").last.inner_text())[0])
        assert sums[-1] == pytest.approx(products.sum(), abs=9 * ROUNDING)
    *terms, bias, total = equations(page)[0]
    assert terms == sums
    assert bias == pytest.approx(network.parameters["conv2.bias"][1], abs=ROUNDING)
    assert total == pytest.approx(sum(sums) + bias, abs=ROUNDING)
    assert equations(page)[1] == pytest.approx([total, max(0, total)])
    assert numbers(line(page))[-1] == equations(page)[1][-1]
    assert equations(page)[1][-1] == pytest.approx(outputs["conv2"][1, y, x], abs=ROUNDING)
    assert line(page).startswith(f"conv2, channel 2, row {y + 1}, column {x + 1}: ")
    outside = page.locator(".cell[data-mark=outside]")
    assert outside.count() == (5 if y == x == 0 else 0)
    assert page.locator(".cell[aria-disabled=true]").count() == outside.count()
    assert page.get_by_text("padding zeros").is_visible() == (y == x == 0)


@pytest.mark.parametrize("architecture", [MEAN, LARGEST], ids=["mean", "maximum"])
def test_a_pooling_shows_its_window(architecture, play, tmp_path):
    network = write_network(tmp_path / "run", architecture)
    page = play(network.file)
    outputs = network.outputs(choose_image(page))
    point(page, picture(page, "pool1", 1), 5, 6, 14, 14)
    window = outputs["conv1"][1, 10:12, 12:14].ravel()
    np.testing.assert_allclose(heat(page, 0), window, atol=ROUNDING)
    (shown,) = equations(page)
    assert shown[-1] == pytest.approx(outputs["pool1"][1, 5, 6], abs=ROUNDING)
    if architecture is MEAN:
        assert shown[-1] == pytest.approx(sum(shown[:4]) / 4, abs=ROUNDING)
    else:
        assert numbers(page.locator(".cell[data-mark=largest]").inner_text()) == [max(heat(page, 0))]


def test_a_number_of_the_vector_shows_its_place_in_both_orders(play, tmp_path):
    network = write_network(tmp_path / "run", MEAN)
    page = play(network.file)
    outputs = network.outputs(choose_image(page))
    channels, height, width = outputs["pool2"].shape
    index = 2 * height * width + 3 * width + 4  # channel 3, row 4, column 5
    rows = -(-channels * height * width // 32)
    point(page, picture(page, "flatten"), index // 32, index % 32, rows, 32)
    assert numbers(line(page))[-2:] == pytest.approx([index + 1, outputs["pool2"][2, 3, 4]], abs=ROUNDING)
    tool = page.locator(".number")
    last = (3 * width + 4) * channels + 2
    assert f"(PyTorch, Gluon) it is number {index + 1} of {channels * height * width}." in tool.inner_text()
    assert f"(Keras, Flax) it is number {last + 1} of" in tool.inner_text()
    press(page, tool.get_by_role("button", name="pool2, channel 3, row 4, column 5"))
    assert line(page).startswith("pool2, channel 3, row 4, column 5: ")


def test_the_contributions_to_a_unit_add_up(play, tmp_path):
    network = write_network(tmp_path / "run", MEAN)
    page = play(network.file)
    outputs = network.outputs(choose_image(page))
    point(page, picture(page, "dense1"), 0, 6, 1, 16)
    products = outputs["flatten"] * network.parameters["dense1.weight"][6]
    table = page.locator(".contributions")
    for shown in (10, 50):
        rows = [numbers(text)[-3:] for text in table.locator("tbody tr:not([hidden])").all_inner_texts()]
        assert len(rows) == shown
        for value, weight, product in rows:
            assert product == pytest.approx(value * weight, abs=3 * ROUNDING)
        largest = products[np.argsort(-np.abs(products))]
        np.testing.assert_allclose([row[-1] for row in rows], largest[:shown], atol=ROUNDING)
        rest, total = (numbers(text)[-1] for text in table.locator("tfoot tr").all_inner_texts())
        assert rest == pytest.approx(largest[shown:].sum(), abs=ROUNDING)
        assert total == pytest.approx(sum(row[-1] for row in rows) + rest, abs=shown * ROUNDING)
        if shown == 10:
            press(page, page.locator(".number").get_by_role("button", name="40 more"))
    terms, bias, total = equations(page)[0]
    assert total == pytest.approx(terms + bias, abs=ROUNDING)
    assert equations(page)[1] == pytest.approx([total, np.tanh(total)], abs=ROUNDING)
    assert equations(page)[1][-1] == pytest.approx(outputs["dense1"][6], abs=ROUNDING)
    index = int(np.argmax(np.abs(products)))
    channel, y, x = np.unravel_index(index, outputs["pool2"].shape)
    press(
        page, table.get_by_role("button", name=f"pool2, channel {channel + 1}, row {y + 1}, column {x + 1}", exact=True)
    )
    assert line(page).startswith(f"flatten, unit {index + 1}: ")


def test_a_logit_shows_its_softmax(play, tmp_path):
    network = write_network(tmp_path / "run", MEAN)
    page = play(network.file)
    outputs = network.outputs(choose_image(page))
    point(page, picture(page, "dense2"), 0, 3, 1, 10)
    logits = outputs["dense2"]
    assert line(page).startswith(f"dense2, logit 4 ({GARMENTS[3]}): ")
    logit, largest, divisor, power, again, probability = equations(page)[-1]
    assert (logit, largest) == pytest.approx((logits[3], logits.max()), abs=ROUNDING)
    assert divisor == again == pytest.approx(np.exp(logits - logits.max()).sum(), abs=ROUNDING)
    assert probability == pytest.approx(power / divisor, abs=ROUNDING)
    assert probability == pytest.approx(np.exp(log_softmax(logits[None]))[0, 3], abs=ROUNDING)


def test_inputs_lead_back_to_the_pixels(play, tmp_path):
    network = write_network(tmp_path / "run", MEAN)
    page = play(network.file)
    image = choose_image(page)
    point(page, picture(page, "pool1", 0), 6, 6, 14, 14)
    press(page, page.locator(".number .cell").nth(3))
    assert line(page).startswith("conv1, channel 1, row 14, column 14: ")
    assert page.evaluate("document.activeElement.tagName") == "H3"
    press(page, page.locator(".number .cell").nth(12))  # the middle of 5 x 5
    assert line(page).startswith("input, channel 1, row 14, column 14: ")
    byte, divisor, value = equations(page)[0]
    assert (byte, divisor) == (round(image[0, 13, 13] * 255), 255)
    assert value == pytest.approx(image[0, 13, 13], abs=ROUNDING)


def test_the_window_is_outlined_in_the_layer_before(play, tmp_path):
    network = write_network(tmp_path / "run", MEAN)
    page = play(network.file)
    choose_image(page)
    point(page, picture(page, "conv2", 1), 4, 7, 12, 12)
    outlines = page.locator(".layers .outline")
    assert outlines.evaluate_all("all => all.map(each => each.className)") == ["outline window"] * 2 + ["outline cell"]
    for channel in range(2):
        map_box = picture(page, "pool1", channel).bounding_box()
        box = outlines.nth(channel).bounding_box()
        assert map_box
        assert box
        cell = map_box["width"] / 14
        place = [(box["y"] - map_box["y"]) / cell, (box["x"] - map_box["x"]) / cell, box["width"] / cell]
        assert place == pytest.approx([4, 7, 3], abs=0.1)


def press_until(page: Page, key: str, condition: str) -> None:
    """Press a key until a condition on the focused element is true."""
    for _ in range(100):
        page.keyboard.press(key)
        if page.evaluate(f"(element => {condition})(document.activeElement)"):
            return
    raise AssertionError(f"{key} never leads to an element with {condition}")


def test_the_keyboard_reaches_and_moves_a_number(play, tmp_path):
    network = write_network(tmp_path / "run", MEAN)
    page = play(network.file)
    outputs = network.outputs(choose_image(page))
    page.locator("body").evaluate("body => { body.tabIndex = -1; body.focus(); }")
    press_until(page, "Tab", "(element.getAttribute('aria-label') ?? '').startsWith('conv1, channel 1')")
    for key in (
        "Enter",
        "ArrowDown",
        "ArrowDown",
        "ArrowRight",
        "Shift+ArrowRight",
        "ArrowUp",
        "ArrowLeft",
        "ArrowLeft",
    ):
        page.keyboard.press(key)
    status = page.locator(".pointed-line")
    expect(status).to_contain_text("conv1, channel 2, row 2, column 1: ")
    assert status.get_attribute("role") == "status"  # a live region, polite
    assert numbers(line(page))[-1] == pytest.approx(outputs["conv1"][1, 1, 0], abs=ROUNDING)
    press_until(page, "Tab", "element.getAttribute('aria-label') === 'dense2, 10 numbers'")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    expect(status).to_contain_text("dense2, logit 2 ")


def test_tabs_are_used_with_the_keyboard(play, tmp_path):
    page = play(write_network(tmp_path / "run", MEAN).file)
    tabs = page.get_by_role("tab")
    count = tabs.count()
    tabs.first.focus()
    for key, chosen in (
        ("ArrowRight", 1),
        ("End", count - 1),
        ("ArrowRight", 0),
        ("ArrowLeft", count - 1),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert tabs.evaluate_all("all => all.map(tab => tab.ariaSelected === 'true')").index(True) == chosen
        assert tabs.evaluate_all("all => all.filter(tab => tab.tabIndex === 0).length") == 1
        expect(tabs.nth(chosen)).to_be_focused()
        assert page.get_by_role("tabpanel").count() == 1
        assert page.get_by_role("tabpanel").get_attribute("aria-labelledby") == tabs.nth(chosen).get_attribute("id")


def test_kernels_are_the_weights_and_highlight_their_channel(play, tmp_path):
    network = write_network(tmp_path / "run", MEAN)
    page = play(network.file)
    page.get_by_role("tab", name="Kernels").click()
    tool = page.locator(".kernels")
    tool.get_by_label("layer", exact=True).select_option("conv2")
    assert tool.locator(".kernel-pictures canvas").count() == 3
    size = tool.locator(".kernel-pictures canvas").evaluate_all("all => all.map(each => [each.width, each.height])")
    assert size == [[7, 3]] * 3  # two kernels of 3 x 3, a pixel apart
    tool.locator(".kernel-pictures button").nth(2).click()
    tool.get_by_label("input channel").select_option(label="2")
    shown = numbers(" ".join(tool.locator("table.heat td").all_inner_texts()))
    np.testing.assert_allclose(shown, network.parameters["conv2.weight"][2, 1].ravel(), atol=ROUNDING)
    assert numbers(tool.get_by_text("Bias of").inner_text())[-1] == pytest.approx(
        network.parameters["conv2.bias"][2], abs=ROUNDING
    )
    most = float(np.abs(network.parameters["conv2.weight"]).max())
    assert numbers(tool.locator(".legend").inner_text()) == pytest.approx([-most, most], abs=ROUNDING)
    highlighted = page.locator(".layers .highlighted canvas")
    expect(highlighted.first).to_have_attribute("aria-label", f"conv2, channel 3, 12 {TIMES} 12")
    picture(page, "conv1", 1).focus()  # its kernels in conv2 are those that read it
    expect(tool.locator(".outline.window")).to_have_count(3)
    names = highlighted.evaluate_all("all => all.map(each => each.ariaLabel)")
    assert names == [f"conv1, channel 2, 28 {TIMES} 28", f"pool1, channel 2, 14 {TIMES} 14"]
    tool.get_by_label("layer", exact=True).select_option("dense1")
    tool.get_by_label("channel or unit").select_option(label="5")
    weights = network.parameters["dense1.weight"][4].reshape(3, 6, 6)
    shown = numbers(" ".join(tool.locator("table.heat td").all_inner_texts()))
    np.testing.assert_allclose(shown, weights[0].ravel(), atol=ROUNDING)


def pixels(canvas: Locator) -> set[str]:
    """The colors of a picture."""
    read = """canvas => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [...new Set(Array.from({ length: data.length / 4 }, (_, i) => data.slice(4 * i, 4 * i + 4).join()))];
    }"""
    return set(canvas.evaluate(read))


def choose_side(page: Page, name: str, option: int) -> None:
    page.locator(".sides").get_by_label(name, exact=True).select_option(index=option)
    drawn(page)


def test_two_networks_with_the_same_weights_show_no_difference(play, tmp_path):
    first, second = (write_network(tmp_path / name, MEAN) for name in ("first", "second"))
    page = play(first.file, second.file)
    choose_image(page)
    sentence = page.locator(".difference-sentence")
    assert not sentence.is_visible()
    choose_side(page, "B", 2)
    expect(sentence).to_have_text(f"No difference in any layer: every |{DIFFERENCE}| is 0.")
    for layer in ("conv1", "pool2", "flatten", "dense2"):
        canvas = picture(page, layer, 0, f"difference {DIFFERENCE}")
        assert len(pixels(canvas) - {"0,0,0,0"}) == 1
        assert len(pixels(picture(page, layer, 0, "A"))) > 1
        assert "at most 0;" in page.locator(f".layer:has(h3:text-is('{layer}')) .row.difference .caption").inner_text()


def test_the_first_layer_with_a_difference_is_named(play, tmp_path):
    first, second = write_network(tmp_path / "first", MEAN), write_network(tmp_path / "second", MEAN, seed=1)
    mixed = first.parameters | {name: second.parameters[name] for name in ("conv1.weight", "conv1.bias")}
    first = Network(write_run(tmp_path / "third", MEAN, parameters=mixed), MEAN, mixed)
    page = play(first.file, second.file)
    image = choose_image(page)
    choose_side(page, "B", 2)
    most = np.abs(first.outputs(image)["conv2"] - second.outputs(image)["conv2"]).max()
    sentence = page.locator(".difference-sentence")
    assert sentence.get_attribute("aria-live") == "polite"
    expect(sentence).to_contain_text("First difference above 0.0001 in conv2")
    assert numbers(sentence.inner_text())[-1] == pytest.approx(most, abs=ROUNDING)
    point(page, picture(page, "dense2", 0, "B"), 0, 2, 1, 10)
    assert line(page).startswith("B: dense2, logit 3 ")
    assert numbers(line(page))[-1] == pytest.approx(second.outputs(image)["dense2"][2], abs=ROUNDING)
    page.get_by_role("button", name="Swap A and B").click()
    expect(page.locator(".pointed-line")).to_contain_text("B: dense2, logit 3 ")
    page.wait_for_function("text => document.querySelector('.pointed-line').innerText !== text", arg=line(page))
    assert numbers(line(page))[-1] == pytest.approx(first.outputs(image)["dense2"][2], abs=ROUNDING)


def test_a_place_in_the_difference_shows_the_numbers_of_both_networks(play, tmp_path):
    first, second = write_network(tmp_path / "first", MEAN), write_network(tmp_path / "second", MEAN, seed=1)
    page = play(first.file, second.file)
    image = choose_image(page)
    choose_side(page, "B", 2)
    of_a, of_b = (network.outputs(image)["conv2"] for network in (first, second))
    canvas = picture(page, "conv2", 1, f"difference {DIFFERENCE}")
    point(page, canvas, 4, 7, 12, 12)

    def assert_shows(name: str, y: int, x: int) -> None:
        expect(page.locator(".pointed-line")).to_have_text(re.compile(f"^{name}: A .*, B .*, {DIFFERENCE} "))
        a, b = of_a[1, y, x], of_b[1, y, x]
        assert numbers(line(page))[-3:] == pytest.approx([a, b, a - b], abs=ROUNDING)
        outline = page.locator(".layer .outline.cell")
        assert outline.evaluate("outline => outline.closest('.row').className") == "row difference"

    assert_shows("conv2, channel 2, row 5, column 8", 4, 7)
    assert page.locator(".number h3").inner_text().startswith("A: conv2")
    page.keyboard.press("ArrowLeft")
    assert_shows("conv2, channel 2, row 5, column 7", 4, 6)
    press(page, page.get_by_role("button", name="one row down"))
    assert_shows("conv2, channel 2, row 6, column 7", 5, 6)
    press(page, page.get_by_role("button", name="Swap A and B"))
    of_a, of_b = of_b, of_a
    page.wait_for_function("text => document.querySelector('.pointed-line').innerText !== text", arg=line(page))
    assert_shows("conv2, channel 2, row 6, column 7", 5, 6)
    choose_side(page, "B", 0)
    expect(page.locator(".pointed-line")).not_to_contain_text(DIFFERENCE)
    assert numbers(line(page))[-1] == pytest.approx(of_a[1, 5, 6], abs=ROUNDING)


def test_the_maps_of_two_networks_have_different_names(play, tmp_path):
    first, second = write_network(tmp_path / "first", MEAN), write_network(tmp_path / "second", MEAN, seed=1)
    page = play(first.file, second.file)
    names = "all => all.map(each => each.ariaLabel)"
    canvases = page.locator(".layers canvas")
    assert f"conv1, channel 2, 28 {TIMES} 28" in canvases.evaluate_all(names)
    choose_side(page, "B", 2)
    found = canvases.evaluate_all(names)
    assert len(set(found)) == len(found)
    for side in ("A", "B", f"difference {DIFFERENCE}"):
        assert f"{side}: conv1, channel 2, 28 {TIMES} 28" in found
        assert f"{side}: dense2, 10 numbers" in found


def test_a_wide_table_is_scrolled_with_the_keyboard(play, tmp_path):
    large = lenet(conv_channels=(2,), kernel_sizes=(11,), dense_units=(16,))
    page = play(write_network(tmp_path / "run", large).file)
    page.get_by_role("tab", name="Kernels").click()
    box = page.get_by_role("group", name="weights of conv1").locator("table.heat").locator("..")
    expect(box).to_have_attribute("tabindex", "0")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
    page.get_by_role("tab", name="Number").click()
    point(page, picture(page, "dense1"), 0, 3, 1, 16)
    box = page.get_by_role("group", name="Largest contributions")
    assert box.evaluate("box => box.scrollWidth <= box.clientWidth && !box.hasAttribute('tabindex')")


def test_networks_of_other_layers_are_shown_without_a_difference(play, tmp_path):
    first, second = write_network(tmp_path / "first", MEAN), write_network(tmp_path / "second", OTHER)
    page = play(first.file, second.file)
    outputs = second.outputs(choose_image(page))
    choose_side(page, "B", 2)
    rows = page.locator(".layer").evaluate_all(
        "all => Object.fromEntries(all.map(each => [each.querySelector('h3').innerText, "
        "[...each.querySelectorAll('.row')].map(row => row.className.slice(4)).join()]))"
    )
    assert rows["conv1"] == rows["dense1"] == "a,b"
    described = page.locator(".layer").first.locator("header p").all_inner_texts()
    assert [text[:3] for text in described] == ["A: ", "B: "]
    assert rows["conv2"] == "a"
    assert rows["dense3"] == "b"
    expect(page.locator(".difference-sentence")).to_contain_text("No layer of A has the name and shape")
    point(page, picture(page, "dense3", 0, "B"), 0, 1, 1, 10)
    assert numbers(line(page))[-1] == pytest.approx(outputs["dense3"][1], abs=ROUNDING)
    choose_side(page, "B", 0)
    expect(page.locator(".pointed-line")).to_have_text("No number chosen")


def test_a_network_that_takes_the_place_of_a_broken_one_keeps_only_the_changes_that_fit(play, tmp_path):
    first, second = write_network(tmp_path / "first", MEAN), write_network(tmp_path / "second", OTHER)
    page = play(first.file, second.file)
    image = choose_image(page)
    page.get_by_role("tab", name="Break it").click()
    page.get_by_label("Transposed kernel").select_option("conv2")
    page.get_by_label("Switch off channels of").select_option("conv2")
    page.get_by_role("group", name="Channels of conv2").get_by_role("button").nth(2).click()
    facts = page.locator(".sides .picker.a .quiet")
    expect(facts).to_contain_text("the changes made in Break it")
    choose_side(page, "A", 1)
    expect(facts).not_to_contain_text("the changes made in Break it")
    point(page, picture(page, "dense3"), 0, 1, 1, 10)
    assert numbers(line(page))[-1] == pytest.approx(second.outputs(image)["dense3"][1], abs=ROUNDING)
    choose_side(page, "A", 0)
    expect(facts).not_to_contain_text("the changes made in Break it")
    page.get_by_role("tab", name="Break it").click()
    pooling = page.get_by_label("Pooling")
    pooling.select_option("avg")  # as the network has it
    expect(facts).not_to_contain_text("the changes made in Break it")
    pooling.select_option("max")
    expect(facts).to_contain_text("the changes made in Break it")


def test_tooltips_tell_more_digits_with_minus_signs(play, tmp_path):
    network = write_network(tmp_path / "run", MEAN)
    page = play(network.file)
    titles = "all => all.map(each => each.title).join(' ')"
    page.get_by_role("tab", name="Kernels").click()
    told = page.locator(".kernels table.heat td").evaluate_all(titles)
    assert MINUS in told
    assert "-" not in told
    np.testing.assert_allclose(numbers(told), network.parameters["conv1.weight"][0, 0].ravel(), atol=6e-7)
    choose_image(page)
    point(page, picture(page, "dense1"), 0, 6, 1, 16)
    told = page.locator(".contributions tbody td").evaluate_all(titles)
    assert MINUS in told
    assert "-" not in told


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_scrolls_sideways_and_the_tabs_stay_visible(size, play, tmp_path):
    network = write_network(tmp_path / "run", MEAN)
    page = play(network.file, network.file, size=size, touch=size is PHONE)
    choose_image(page)
    choose_side(page, "B", 2)
    for layer in network.architecture.output_shapes:
        picture(page, layer, 0, "A").click()
        expect(page.locator(".pointed-line")).to_contain_text(f"A: {layer}, ")
        assert not page.evaluate(TOO_WIDE)
        expect(page.get_by_role("tab").first).to_be_in_viewport()
        expect(page.locator(".number h3")).to_be_in_viewport()
    for tab in page.get_by_role("tab").all():
        press(page, tab)
        assert not page.evaluate(TOO_WIDE)


def test_the_sheet_of_a_phone_is_folded_until_it_is_wanted(play, tmp_path):
    page = play(write_network(tmp_path / "run", MEAN).file, size=PHONE, touch=True)
    fold = page.locator(".tool-tabs .fold")
    sheet = page.locator(".tool-tabs")
    assert fold.get_attribute("aria-expanded") == "false"
    folded = sheet.bounding_box()
    assert folded
    assert folded["height"] <= 0.15 * PHONE["height"]
    picture(page, "pool1").tap()
    expect(page.locator(".equations")).to_be_visible()
    assert fold.get_attribute("aria-expanded") == "true"
    unfolded = sheet.bounding_box()
    assert unfolded
    assert unfolded["height"] <= 0.45 * PHONE["height"] + 1
    assert unfolded["y"] + unfolded["height"] == pytest.approx(PHONE["height"], abs=1)
    fold.tap()
    picture(page, "pool2").tap()
    expect(page.locator(".pointed-line")).to_contain_text("pool2, channel 1, row ")
    assert fold.get_attribute("aria-expanded") == "false"  # whoever folds it wants the network
    expect(page.locator(".equations")).to_be_hidden()
    page.get_by_role("tab").first.tap()
    expect(page.locator(".equations")).to_be_visible()

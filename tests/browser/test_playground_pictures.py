"""Tests that the network playground shows its network the same pixels of a picture as `lenet_multi.predict`."""

from __future__ import annotations

import io
import re
import zlib
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
from pad import by, choose, drag, seen
from PIL import Image
from playwright.sync_api import Page, expect

from lenet_multi.data.network_input import network_input

# A drop or a paste anywhere on the page, of files as [name, type, content in base64].
GIVE = """([kind, files]) => {
    const given = new DataTransfer();
    for (const [name, type, content] of files) {
        given.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name, {type}));
    }
    const event = kind === "paste"
        ? new ClipboardEvent(kind, {clipboardData: given, bubbles: true, cancelable: true})
        : new DragEvent(kind, {dataTransfer: given, bubbles: true, cancelable: true});
    document.querySelector(".network-column").dispatchEvent(event);
    return event.defaultPrevented;
}"""


def random_pixels(*shape: int, seed: int = 0, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """Waves of color, as JPEG keeps them well."""
    y, x = np.mgrid[:height, :width]
    return np.stack([127 + 90 * np.sin(y / 9), 127 + 90 * np.cos(x / 11), (x + y) % 200 / 2 + 60], axis=2).astype(
        np.uint8
    )


def bright_border(*shape: int) -> np.ndarray:
    pixels = random_pixels(*shape)
    pixels[:20], pixels[-20:], pixels[:, :20], pixels[:, -20:] = 250, 250, 250, 250
    return pixels


def with_alpha(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels, alpha[:, :, np.newaxis]], axis=2)


def palette(transparent: bool = False) -> Image.Image:
    image = Image.fromarray(random_pixels(40, 50, 3)).quantize(32)
    if transparent:
        image.info["transparency"] = 3
    return image


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


GAMMA = b"\x00\x00\x00\x04gAMA\x00\x00\x86\xa0"


def with_gamma(image: Image.Image) -> bytes:
    """A PNG file that says how its colors are to be shown; predict takes the stored ones."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    content = buffer.getvalue()
    return content[:33] + GAMMA + zlib.crc32(GAMMA[4:]).to_bytes(4, "big") + content[33:]


EXACT = {
    "color": lambda: Image.fromarray(random_pixels(61, 47, 3)),
    "color of the network's size": lambda: Image.fromarray(random_pixels(28, 28, 3)),
    "grey of the network's size": lambda: Image.fromarray(random_pixels(28, 28)),
    "grey": lambda: Image.fromarray(random_pixels(200, 33)),
    "small": lambda: Image.fromarray(random_pixels(9, 5, 3)),
    "one pixel": lambda: Image.fromarray(random_pixels(1, 1, 3)),
    "a line": lambda: Image.fromarray(random_pixels(1, 300)),
    "large": lambda: Image.fromarray(random_pixels(701, 1203, 3)),
    "wide": lambda: Image.fromarray(random_pixels(28, 400, 3)),
    "bright border": lambda: Image.fromarray(bright_border(300, 260, 3)),
    "bright grey border": lambda: Image.fromarray(bright_border(90, 80)),
    "black and white": lambda: Image.fromarray(random_pixels(50, 40)).convert("1"),
    "palette": palette,
    "16 bits": lambda: Image.fromarray(np.random.default_rng(0).integers(0, 2**16, (60, 50)).astype(np.uint16)),
    "gamma": lambda: with_gamma(Image.fromarray(random_pixels(40, 40, 3))),
}
ALPHA = {
    "alpha": lambda: Image.fromarray(with_alpha(random_pixels(60, 45, 3), random_pixels(60, 45, seed=1))),
    "alpha of the network's size": lambda: Image.fromarray(
        with_alpha(random_pixels(28, 28, 3), random_pixels(28, 28, seed=1))
    ),
    "nearly transparent": lambda: Image.fromarray(
        with_alpha(random_pixels(60, 45, 3), random_pixels(60, 45, seed=1, high=9))
    ),
    "grey with alpha": lambda: Image.fromarray(
        with_alpha(random_pixels(60, 45, 1), random_pixels(60, 45, seed=1)), "LA"
    ),
    "transparent palette": lambda: palette(transparent=True),
}


def saved(folder: Path, name: str, picture: Image.Image | bytes, suffix: str = ".png", **options) -> Path:
    path = folder / f"{name.replace(' ', '_')}{suffix}"
    if isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        picture.save(path, **options)
    return path


def input_of(path: Path, shape: tuple[int, int, int], light_on_black: bool) -> np.ndarray:
    """What predict shows its network, as `seen` gives it."""
    pixels = network_input(path, shape, light_on_black).pixels.transpose(1, 2, 0)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)).astype(int)


def give(page: Page, path: Path) -> np.ndarray:
    choose(page, path)
    expect(page.locator(".steps")).to_contain_text(path.name)
    return seen(page).astype(int)


@pytest.mark.parametrize(("pictures", "most"), [(EXACT, 0), (ALPHA, 1)], ids=["opaque", "transparent"])
def test_a_picture_is_prepared_as_by_predict(play, grey_run, tmp_path, pictures, most):
    page = play(grey_run)
    found = {}
    for name, make in pictures.items():
        path = saved(tmp_path, name, make())
        found[name] = int(np.abs(give(page, path) - input_of(path, (1, 28, 28), True)).max())
    assert {name: off for name, off in found.items() if off > most} == {}


@pytest.mark.parametrize(("pictures", "most"), [(EXACT, 0), (ALPHA, 1)], ids=["opaque", "transparent"])
def test_a_picture_is_prepared_in_color_as_by_predict(play, color_run, tmp_path, pictures, most):
    page = play(color_run)
    found = {}
    for name, make in pictures.items():
        path = saved(tmp_path, name, make())
        found[name] = int(np.abs(give(page, path) - input_of(path, (3, 24, 32), False)).max())
    assert {name: off for name, off in found.items() if off > most} == {}


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}], ids=str)
def test_a_photograph_is_prepared_nearly_as_by_predict(play, grey_run, tmp_path, options):
    path = saved(tmp_path, "photo", Image.fromarray(smooth(120, 160)), ".jpg", quality=90, **options)
    assert np.abs(give(play(grey_run), path) - input_of(path, (1, 28, 28), True)).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_is_rotated_by_its_exif_orientation(play, grey_run, tmp_path, suffix):
    page = play(grey_run)
    image = Image.fromarray(smooth(40, 60))
    for orientation in range(1, 9):
        path = saved(tmp_path, f"turned{orientation}", image, suffix, exif=exif(orientation))
        difference = np.abs(give(page, path) - input_of(path, (1, 28, 28), True)).max()
        assert difference <= (0 if suffix == ".png" else 3), orientation
        says = page.locator(".steps").get_by_text("EXIF").count()
        assert says == (orientation != 1), orientation


def test_each_step_is_shown_with_its_reason(play, grey_run, tmp_path):
    pixels = with_alpha(bright_border(50, 60, 3), np.full((50, 60), 255, np.uint8))
    pixels[:9, :, 3] = 0
    page = play(grey_run)
    choose(page, saved(tmp_path, "all", Image.fromarray(pixels), exif=exif(6)))
    items = page.get_by_role("list", name="Preprocessing steps").get_by_role("listitem")
    expect(items).to_have_count(5)
    expected = (
        f"all.png, {by(60, 50)} pixels. Rotated",
        "transparent",
        "grey",
        f"from {by(60, 50)} to {by(28, 28)}",
        "border is bright",
    )
    for text, item in zip(expected, items.all(), strict=True):
        expect(item).to_contain_text(text)
        assert item.locator("canvas").evaluate("canvas => canvas.width * canvas.height") >= 28 * 28
    drag(page, (14, 5), (14, 20))
    expect(items.first).to_be_hidden()


def test_a_picture_of_the_right_kind_is_taken_as_it_is(play, grey_run, tmp_path):
    page = play(grey_run)
    give(page, saved(tmp_path, "same", Image.fromarray(random_pixels(28, 28, high=100))))
    expect(page.get_by_text("The network sees it unchanged.")).to_be_visible()


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_can_be_pasted_and_dropped_anywhere(play, grey_run, tmp_path, kind):
    page = play(grey_run)
    path = saved(tmp_path, "given", Image.fromarray(random_pixels(50, 40, 3)))
    assert page.evaluate(GIVE, [kind, [[path.name, "image/png", b64encode(path.read_bytes()).decode()]]])
    expect(page.locator(".steps")).to_contain_text("given.png")
    assert (seen(page) == input_of(path, (1, 28, 28), True)).all()


def test_what_is_no_file_is_pasted_as_usual(play, grey_run):
    assert not play(grey_run).evaluate(GIVE, ["paste", []])


def damaged() -> dict[str, tuple[str, bytes, str]]:
    """Names of files, their contents, and what the page says of them."""
    buffers = {kind: io.BytesIO() for kind in ("PNG", "JPEG")}
    for kind, buffer in buffers.items():
        Image.fromarray(smooth(90, 80)).save(buffer, kind)
    png, jpeg = (buffer.getvalue() for buffer in buffers.values())
    huge = png[:16] + (60_000).to_bytes(4, "big") * 2 + png[24:]
    middle = len(png) // 2
    return {
        "truncated PNG": ("cut.png", png[:-200], "cut.png is damaged"),
        "truncated JPEG": ("cut.jpg", jpeg[:-200], "cut.jpg is damaged"),
        "bytes changed": ("noise.png", png[:middle] + bytes(100) + png[middle + 100 :], "noise.png is damaged"),
        "header only": ("head.png", png[:40], "head.png is damaged"),
        "huge": ("bomb.png", huge, f"bomb.png has {by(60000, 60000)} pixels, more than 67,108,864"),
        "GIF": ("film.gif", b"GIF89a" + bytes(60), "film.gif is not a PNG or JPEG picture"),
        "empty": ("nothing.png", b"", "nothing.png is not a PNG or JPEG picture"),
        "start of a JPEG": ("start.jpg", b"\xff\xd8\xff\xe1\xff\xff", "start.jpg is not a PNG or JPEG picture"),
        "SVG": ("x.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "x.svg is not a PNG or JPEG picture"),
    }


def test_a_damaged_picture_is_one_sentence(play, grey_run):
    page = play(grey_run)
    drag(page, (14, 5), (14, 20))
    drawn = seen(page)
    for name, content, says in damaged().values():
        page.get_by_label("Open a picture or a run").set_input_files({"name": name, "mimeType": "", "buffer": content})
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(says)
        assert len(re.findall(r"[.!?](?:\s|$)", alert.inner_text())) == 1
        assert (seen(page) == drawn).all()


def test_a_problem_goes_away_with_the_next_file(play, grey_run, tmp_path):
    page = play(grey_run)
    page.get_by_label("Open a picture or a run").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": b"no"}
    )
    expect(page.get_by_role("alert")).not_to_be_empty()
    give(page, saved(tmp_path, "good", Image.fromarray(random_pixels(50, 40, 3))))
    expect(page.get_by_role("alert")).to_be_empty()


def test_several_files_are_taken_in_turn(play, grey_run, tmp_path):
    page = play(grey_run)
    paths = [saved(tmp_path, f"number{n}", Image.fromarray(random_pixels(50, 40, seed=n))) for n in range(2)]
    bad = saved(tmp_path, "bad", b"no picture")
    choose(page, paths[0], bad, paths[1])
    expect(page.get_by_role("alert")).to_have_text(re.compile("^bad.png is not"))
    expect(page.locator(".steps")).to_contain_text("number1.png")
    assert (seen(page) == input_of(paths[1], (1, 28, 28), True)).all()


def test_a_drawing_is_kept_when_a_picture_is_decoded_meanwhile(play, grey_run, tmp_path):
    page = play(grey_run)
    page.evaluate("""() => {
        const decode = createImageBitmap;
        window.createImageBitmap = async (...given) => {
            await new Promise(done => window.goOn = done);
            return decode(...given);
        };
    }""")
    choose(page, saved(tmp_path, "late", Image.fromarray(random_pixels(50, 40))))
    page.wait_for_function("() => !!window.goOn")
    drag(page, (14, 5), (14, 20))
    drawn = seen(page)
    page.evaluate("goOn()")
    page.wait_for_function("() => !document.querySelector('.files').hasAttribute('aria-busy')")
    assert (seen(page) == drawn).all()
    expect(page.locator(".files [role=status]")).to_have_text(re.compile(r"^late.png was not taken"))


def test_an_error_while_a_file_is_read_surfaces_and_the_next_file_is_taken(browser, play, grey_run, tmp_path):
    page = browser.new_page()
    page.goto(play(grey_run).url)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(error.message))
    page.evaluate("""() => {
        const { prototype } = CanvasRenderingContext2D;
        const { getImageData } = prototype;
        prototype.getImageData = () => { throw new TypeError("planted"); };
        window.repair = () => { prototype.getImageData = getImageData; };
    }""")
    path = saved(tmp_path, "any", Image.fromarray(random_pixels(28, 28)))
    choose(page, path)
    page.wait_for_function("() => !document.querySelector('.files').hasAttribute('aria-busy')")
    expect(page.locator(".files [role=status]")).to_be_empty()
    assert errors == ["planted"]
    page.evaluate("() => repair()")
    give(page, path)
    page.close()

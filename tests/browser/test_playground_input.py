"""Tests the input of the network playground: drawing with a mouse, a finger or the keyboard, and test images."""

from __future__ import annotations

import numpy as np
import pytest
from chromium import DESKTOP, PHONE, TOO_WIDE
from pad import board, button, cleared, drag, is_empty, seen
from playwright.sync_api import Page, expect
from small_runs import GARMENTS, write_pictures, write_run

from lenet_multi.architecture import lenet
from lenet_multi.data import load_dataset


def test_a_mouse_draws_a_line(play, grey_run):
    page = cleared(play(grey_run))
    assert is_empty(page)
    drag(page, (14, 5), (14, 20))
    drawn = seen(page)[:, :, 0]
    assert (drawn[13:15, 5:20] == 255).all()
    assert not drawn[:11].any()
    assert not drawn[17:].any()
    assert not drawn[:, 24:].any()


def test_a_stroke_that_leaves_the_pad_goes_on_when_it_comes_back(play, grey_run):
    page = cleared(play(grey_run))
    drag(page, (10, 20), (10, 60), (20, 60), (20, 10))
    drawn = seen(page)[:, :, 0]
    assert (drawn[9:11, 20:] > 200).all()
    assert (drawn[19:21, 10:] > 200).all()


def test_other_mouse_buttons_do_not_draw(play, grey_run):
    page = cleared(play(grey_run))
    page.mouse.move(*board(page, 14, 14))
    page.mouse.down(button="right")
    page.mouse.move(*board(page, 20, 20))
    page.mouse.up(button="right")
    assert is_empty(page)


def test_a_finger_draws_and_does_not_scroll(play, grey_run):
    page = cleared(play(grey_run, size=PHONE, touch=True))
    page.locator(".board").scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(board(page, *p) for p in places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", (22, 14))
    for y in range(21, 4, -1):
        send("touchMove", (y, 14))
    send("touchMove", (5, 14), (20, 25))  # a second finger
    send("touchEnd")
    drawn = seen(page)[:, :, 0]
    assert (drawn[6:22, 13:15] == 255).all()
    assert not drawn[:, 20:].any()
    assert page.evaluate("scrollY") == before


def test_a_pen_draws_wider_when_it_is_pressed(play, grey_run):
    page = cleared(play(grey_run))
    pen = page.context.new_cdp_session(page)
    sums = []
    for force in (0.1, 0.5, 1):
        x, y = board(page, 14, 14)
        event = {"x": x, "y": y, "button": "left", "pointerType": "pen", "force": force, "clickCount": 1}
        pen.send("Input.dispatchMouseEvent", {"type": "mousePressed", **event})
        pen.send("Input.dispatchMouseEvent", {"type": "mouseReleased", **event})
        sums.append(int(seen(page).sum()))
        button(page, "Clear").click()
    assert sums == sorted(set(sums))


def test_the_keyboard_draws_dots_and_lines(play, grey_run):
    page = cleared(play(grey_run))
    page.get_by_role("radio", name="1", exact=True).check()
    page.locator(".board").focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "Space"):
        page.keyboard.press(key)
    expect(page.get_by_text("Drawn at row 13, column 14")).to_be_visible()
    expect(page.locator(".cursor")).to_be_visible()
    dot = seen(page)[:, :, 0]
    assert (dot.nonzero()[0].tolist(), dot.nonzero()[1].tolist()) == ([12], [13])
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    expect(page.get_by_text("Line to row 13, column 18")).to_be_visible()
    assert (seen(page)[12, 13:18, 0] == 255).all()
    page.keyboard.press("Tab")
    expect(page.locator(".cursor")).to_be_hidden()


def test_the_cursor_stays_on_the_pad(play, grey_run):
    page = cleared(play(grey_run))
    page.locator(".board").focus()
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    expect(page.get_by_text("Row 28, column 15")).to_be_visible()


def test_a_line_with_the_keyboard_is_undone_as_one_stroke(play, grey_run):
    page = cleared(play(grey_run))
    page.locator(".board").focus()
    page.keyboard.down("Shift")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.up("Shift")
    assert not is_empty(page)
    page.keyboard.press("Control+z")
    assert is_empty(page)


def test_each_stroke_can_be_undone(play, grey_run):
    page = cleared(play(grey_run))
    drag(page, (5, 5), (5, 20))
    first = seen(page)
    drag(page, (20, 5), (20, 20))
    button(page, "Undo").click()
    assert (seen(page) == first).all()
    page.keyboard.press("Control+z")
    assert is_empty(page)


def test_undo_ends_at_the_first_image(play, grey_run):
    page = play(grey_run)
    first = seen(page)
    expect(button(page, "Undo")).to_have_attribute("aria-disabled", "true")
    drag(page, (5, 5), (5, 20))
    expect(button(page, "Undo")).to_have_attribute("aria-disabled", "false")
    for _ in range(3):
        button(page, "Undo").press("Enter")
    assert (seen(page) == first).all()
    expect(button(page, "Undo")).to_have_attribute("aria-disabled", "true")


def test_clearing_can_be_undone(play, grey_run):
    page = cleared(play(grey_run))
    drag(page, (5, 5), (5, 20))
    drawn = seen(page)
    button(page, "Clear").click()
    assert is_empty(page)
    button(page, "Undo").click()
    assert (seen(page) == drawn).all()


def test_the_eraser_takes_away(play, grey_run):
    page = cleared(play(grey_run))
    drag(page, (14, 5), (14, 20))
    button(page, "Eraser").click()
    expect(button(page, "Eraser")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("radio", name="8", exact=True).check()
    drag(page, (14, 5), (14, 12))
    drawn = seen(page)[:, :, 0]
    assert not drawn[:, :14].any()
    assert (drawn[13:15, 17:20] == 255).all()


def test_a_wider_brush_covers_more(play, grey_run):
    page = cleared(play(grey_run))
    sums = []
    for width in (1, 2, 4, 8):
        page.get_by_role("radio", name=str(width), exact=True).check()
        drag(page, (14, 14), (14, 14))
        sums.append(int(seen(page).sum()))
        button(page, "Clear").click()
    assert sums == sorted(set(sums))


def test_a_network_in_color_is_drawn_in_color_on_white(play, color_run):
    page = cleared(play(color_run))
    assert seen(page).shape == (24, 32, 3)
    assert (seen(page) == 255).all()
    page.get_by_label("Color").fill("#ff8000")
    page.get_by_role("radio", name="7", exact=True).check()
    drag(page, (14, 14), (14, 14), size=28)
    assert ((seen(page) == (255, 128, 0)).all(axis=2)).any()


def test_a_test_image_is_shown_with_its_label(play, grey_run):
    page = play(grey_run)
    test = load_dataset("synthetic").test
    page.get_by_role("combobox", name="Test images").select_option("trouser")
    number = int(np.flatnonzero(test.labels == 1)[3])
    chosen = button(page, f"trouser, test image {number}")
    chosen.click()
    assert (seen(page)[:, :, 0] == test.images[number, 0]).all()
    expect(chosen).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("The image is labeled trouser.")).to_be_visible()
    drag(page, (14, 5), (14, 20))
    expect(chosen).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_text("The image is labeled trouser.")).to_be_hidden()
    button(page, "Undo").click()
    expect(chosen).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("The image is labeled trouser.")).to_be_visible()


def test_there_is_a_test_image_of_each_class(play, grey_run):
    page = play(grey_run)
    names = [name.partition(", test image")[0] for name in thumbnails(page)]
    assert names == list(GARMENTS)


def test_the_tab_key_reaches_one_thumbnail_and_the_arrow_keys_the_others(play, grey_run):
    page = play(grey_run)
    buttons = page.get_by_role("group", name="Test images").get_by_role("button")
    stops = "all => all.flatMap((each, n) => each.tabIndex === 0 ? [n] : [])"
    (first,) = buttons.evaluate_all(stops)
    assert buttons.nth(first).get_attribute("aria-pressed") == "true"
    page.get_by_role("combobox", name="Test images").focus()
    page.keyboard.press("Tab")
    expect(buttons.nth(first)).to_be_focused()
    page.keyboard.press("Home")
    expect(buttons.first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(buttons.nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    tops = buttons.evaluate_all("all => all.map(each => each.offsetTop)")
    below = 1 + tops.count(tops[0])
    expect(buttons.nth(below)).to_be_focused()
    page.keyboard.press("Enter")
    expect(buttons.nth(below)).to_have_attribute("aria-pressed", "true")
    assert buttons.evaluate_all(stops) == [below]
    page.keyboard.press("Tab")
    expect(page.get_by_label("Open a picture or a run")).to_be_focused()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_likeliest_class_stands_next_to_the_pad(size, play, grey_run):
    page = play(grey_run, size=size, touch=True)
    line = page.locator(".prediction-line")
    expect(line).to_be_in_viewport()
    announcement = page.locator(".announcement")
    for change in (lambda: None, lambda: button(page, "Clear").tap()):
        change()
        expect(announcement).not_to_be_empty()
        page.wait_for_function(
            "() => document.querySelector('.announcement').textContent"
            ".startsWith(document.querySelector('.prediction-line').textContent)"
        )


def thumbnails(page: Page) -> list[str]:
    return (
        page.get_by_role("group", name="Test images")
        .get_by_role("button")
        .evaluate_all("buttons => buttons.map(button => button.ariaLabel)")
    )


def test_37_classes_stay_usable_on_a_phone(play, tmp_path):
    names = tuple(f"class with a long name {number:02}" for number in range(37))
    data = write_pictures(tmp_path / "pictures", names, (24, 32), per_class=2)
    network = lenet(input_shape=(3, 24, 32), conv_channels=(2,), dense_units=(8,), num_classes=37)
    page = play(write_run(tmp_path / "run", network, names, str(data)), size=PHONE)
    assert len(thumbnails(page)) == 37
    assert not page.evaluate(TOO_WIDE)
    page.get_by_role("combobox", name="Test images").select_option(names[30])
    assert [name.partition(", test image")[0] for name in thumbnails(page)] == [names[30]]

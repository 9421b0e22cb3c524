/** The pad: the pixels that the network sees, enlarged, to draw on with a mouse, a finger, a pen or the keyboard. */

import { element, newId, text } from "../dom.js";
import { drawImage } from "../drawing.js";
import { brushWidths, channelsOf, Sketch } from "../sketch.js";
import { listenToKeys } from "./pad_keys.js";
import { predictionLine } from "./prediction.js";

/** @typedef {import("../store.js").Store} Store */

const ERASER_OF_PEN = 32; // in the buttons of a pointer event

/** @param {Store} store */
export function padView(store) {
  const [channels, height, width] = store.facts.inputShape;
  const [background, ink] = store.facts.lightOnBlack ? ["#000000", "#ffffff"] : ["#ffffff", "#000000"];
  const sketch = new Sketch(store);
  const widths = brushWidths(height, width);
  let brushWidth = widths[Math.min(1, widths.length - 1)];

  const sizes = widths.map((size) => {
    const id = newId();
    const choice = element("input", { type: "radio", name: "brush", id, checked: size === brushWidth });
    choice.addEventListener("change", () => (brushWidth = size));
    return element("span", { className: "size" }, choice, element("label", { for: id }, String(size)));
  });
  const eraser = element("button", { type: "button", "aria-pressed": "false" }, text("pad.eraser"));
  const isErasing = () => eraser.getAttribute("aria-pressed") === "true";
  eraser.addEventListener("click", () => eraser.setAttribute("aria-pressed", String(!isErasing())));
  const color = element("input", { type: "color", value: ink });
  const undo = element(
    "button",
    { type: "button", title: text("pad.undoKey"), onclick: () => sketch.undo() },
    text("pad.undo"),
  );
  const clear = element("button", { type: "button", onclick: () => sketch.clear() }, text("pad.clear"));

  /**
   * @param {boolean} erases
   * @param {number} pressure of a pen, from 0 to 1; 0.5 for other pointers
   */
  const brushOf = (erases, pressure = 0.5) => ({
    radius: (brushWidth / 2) * (0.5 + pressure),
    color: channelsOf(erases ? background : color.value, channels),
  });

  const canvas = element("canvas", { "aria-hidden": "true" });
  const cursor = element("span", { className: "cursor", hidden: true });
  const hint = element("p", { className: "quiet", id: newId() }, text("pad.hint"));
  const spoken = element("p", { className: "quiet spoken", "aria-live": "polite" });
  const board = element(
    "div",
    {
      className: "board",
      tabIndex: 0,
      role: "application",
      "aria-label": text("pad.label", { height, width }),
      "aria-describedby": hint.id,
    },
    canvas,
    cursor,
  );
  board.style.setProperty("--narrow", String(Math.min(1, width / height)));
  listenToPointers(board, sketch, (event) => ({
    brush: brushOf(isErasing() || (event.buttons & ERASER_OF_PEN) !== 0, pressureOf(event)),
    at: placeOn(board, event, height, width),
  }));
  listenToKeys(board, cursor, spoken, sketch, [height, width], () => brushOf(isErasing()));
  document.addEventListener("keydown", (event) => {
    const isUndo = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey;
    if (!isUndo || isForText(event.target)) return;
    event.preventDefault();
    sketch.undo();
  });

  function draw() {
    drawImage(canvas, store.state.image, store.facts.inputShape);
    undo.setAttribute("aria-disabled", String(!sketch.past.length));
  }
  store.views.push((changed) => {
    if (!changed.has("image") && !changed.has("label")) return;
    sketch.follow();
    draw();
  });
  draw();
  const tools = element(
    "div",
    { className: "tools" },
    eraser,
    undo,
    clear,
    element("fieldset", { className: "sizes" }, element("legend", {}, text("pad.sizes")), ...sizes),
    channels === 3 ? element("label", { className: "color" }, text("pad.color"), color) : null,
  );
  return element(
    "div",
    { className: "pad" },
    element("div", { className: "drawing" }, board, tools),
    predictionLine(store),
    hint,
    spoken,
  );
}

/**
 * One pointer at a time draws: the others, such as a second finger, are ignored.
 *
 * @param {HTMLElement} board
 * @param {Sketch} sketch
 * @param {(event: PointerEvent) => {brush: import("../brush.js").Brush, at: import("../sketch.js").PixelPoint}} read
 */
function listenToPointers(board, sketch, read) {
  /** @type {number | null} */
  let drawing = null;
  board.addEventListener("pointerdown", (event) => {
    const isDrawing = event.button === 0 || (event.buttons & ERASER_OF_PEN) !== 0;
    if (drawing !== null || !isDrawing) return;
    event.preventDefault(); // no selection of text
    board.focus({ preventScroll: true });
    board.setPointerCapture(event.pointerId);
    drawing = event.pointerId;
    const { brush, at } = read(event);
    sketch.begin(brush, at);
  });
  board.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drawing) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    sketch.extend((passed.length ? passed : [event]).map(read));
  });
  for (const name of /** @type {const} */ (["pointerup", "pointercancel", "lostpointercapture"])) {
    board.addEventListener(name, (event) => {
      if (event.pointerId !== drawing) return;
      drawing = null;
      sketch.end();
    });
  }
}

/** @param {PointerEvent} event */
function pressureOf(event) {
  return event.pointerType === "pen" && event.pressure > 0 ? event.pressure : 0.5;
}

/**
 * Where a pointer is, in pixels of the image.
 *
 * @param {HTMLElement} board
 * @param {PointerEvent} event
 * @param {number} height
 * @param {number} width
 */
function placeOn(board, event, height, width) {
  const place = board.getBoundingClientRect();
  return {
    x: ((event.clientX - place.left) / place.width) * width,
    y: ((event.clientY - place.top) / place.height) * height,
  };
}

/**
 * Whether Ctrl+Z there undoes typing.
 *
 * @param {EventTarget | null} target
 */
function isForText(target) {
  if (target instanceof HTMLTextAreaElement) return true;
  return target instanceof HTMLInputElement &&
    !["radio", "checkbox", "button", "range", "color", "file"].includes(target.type);
}

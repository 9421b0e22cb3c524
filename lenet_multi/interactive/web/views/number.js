/** Where a number comes from: the calculation of the number that is pointed at, with the numbers it was made of. */

import { rangeOf } from "../drawing.js";
import { element, text } from "../dom.js";
import {
  INPUT,
  numbersAt,
  placeAt,
  placeName,
  pointed,
  pointedDifference,
  pointedTrace,
  shapeAt,
  valueAt,
} from "../pointed.js";
import { indexOf } from "../trace.js";
import { describeLayer } from "./layer_words.js";
import { cellOutline, gridOf, NumberMap, steppedIndex } from "./maps.js";
import { equationsOf, exactly } from "./number_equations.js";
import { DensePart, FlattenPart } from "./number_inputs.js";
import { WindowPart } from "./number_window.js";
import { onceRested } from "./rest.js";
import { drawWhileVisible } from "./tool_parts.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../trace.js").Place} Place
 * @typedef {import("../trace.js").Trace} Trace
 * @typedef {NonNullable<ReturnType<typeof pointed>>} Pointed
 * @typedef {WindowPart | DensePart | FlattenPart} Part
 */

const NUMBER_KEYS = /** @type {(keyof import("../store.js").State)[]} */ (["place", "a", "b", "image", "runs"]);
const PARTS = { conv: WindowPart, pool: WindowPart, dense: DensePart, flatten: FlattenPart };

/**
 * The place and the value of the number that is pointed at, in one line.
 *
 * @param {Store} store
 */
export function pointedLine(store) {
  const line = element("p", { className: "pointed-line", role: "status" });
  function draw() {
    const found = pointed(store);
    line.textContent = found ? lineOf(store, found) : text("number.none");
  }
  const drawLater = onceRested(draw);
  store.views.push((changed) => {
    if (changed.has("place")) draw();
    else if (NUMBER_KEYS.some((key) => changed.has(key))) drawLater();
  });
  draw();
  return line;
}

/**
 * @param {Store} store
 * @param {Pointed} found
 */
function lineOf(store, { pass, place }) {
  const name = placeName(pass.model, store.facts.classes, place);
  const both = pointedDifference(store);
  if (both) {
    const values = { a: exactly(both.a), b: exactly(both.b), difference: exactly(both.a - both.b) };
    return text("number.difference", { place: name, ...values });
  }
  return ofSide(store, place, text("number.line", { place: name, value: exactly(valueAt(pass, place)) }));
}

/**
 * With the name of the network in front, if there are two.
 *
 * @param {Store} store
 * @param {Pointed["place"]} place
 * @param {string} said
 */
function ofSide(store, place, said) {
  return store.passes.b && place.layer !== INPUT ? `${text(`side.${place.side}`)}: ${said}` : said;
}

/** @param {Store} store */
export function numberView(store) {
  const hint = element("p", {}, text("number.hint"));
  const title = element("h3", { tabIndex: -1 });
  const equations = element("div", { className: "equations" });
  const moves = moveButtons(store);
  const place = element("div");
  const large = element("div", { className: "large" });
  const body = element("div", { hidden: true }, title, moves.element, equations, place, large);
  const content = element("div", { className: "number" }, hint, body);
  let shown = "";
  /** @type {Part | null} */
  let part = null;
  /** @type {NumberMap | null} */
  let map = null;

  /** @param {Place} to */
  function goTo(to) {
    const side = store.state.place?.side ?? "a";
    store.update({ place: { side, ...to } });
    title.focus(); // the button that was pressed can be gone
  }

  /** @param {Pointed} found */
  function build({ pass, place: { layer } }) {
    const trace = pointedTrace(store);
    part = trace && new PARTS[trace.layer.kind](trace, goTo);
    place.replaceChildren(...(part ? [part.element] : []));
    const shape = shapeAt(pass.model, layer);
    map = shape.length === 3 ? largeMap(store, shape) : null;
    large.replaceChildren(...(map ? [map.element] : []));
  }

  function draw() {
    const found = pointed(store);
    hint.hidden = found !== null;
    body.hidden = found === null;
    if (!found) return;
    const key = keyOf(found);
    if (key !== shown) build(found);
    shown = key;
    const trace = pointedTrace(store);
    const words = trace ? `${trace.layer.name}: ${describeLayer(trace.layer)}` : text("pointed.input");
    title.textContent = ofSide(store, found.place, words);
    const lines = trace ? equationsOf(trace, found.pass) : [pixelLine(found)];
    equations.replaceChildren(...lines.map((line) => element("p", {}, line)));
    if (trace) part?.fill(trace, found.pass);
    if (map) drawLarge(map, found);
    moves.draw(found);
  }

  store.views.push((changed) => {
    if (changed.has("place") && store.state.place) content.dispatchEvent(new CustomEvent("wanted"));
  });
  drawWhileVisible(store, content, NUMBER_KEYS, draw);
  return content;
}

/**
 * What the elements of the view depend on.
 *
 * @param {Pointed} found
 */
function keyOf({ pass, place }) {
  const layer = place.layer === INPUT ? null : pass.model.layers[place.layer];
  const kind = layer ? `${layer.kind} ${layer.size} ${layer.inputShape}` : "";
  return `${place.side} ${place.layer} ${shapeAt(pass.model, place.layer)} ${kind}`;
}

/** @param {Pointed} found */
function pixelLine({ pass, place }) {
  const value = valueAt(pass, place);
  return text("number.pixel", { byte: Math.round(value * 255), value: exactly(value) });
}

/**
 * The map of the number, large enough to point at each of its numbers.
 *
 * @param {Store} store
 * @param {number[]} shape
 */
function largeMap(store, shape) {
  const grid = gridOf(shape);
  const map = new NumberMap(
    grid,
    text("number.large"),
    text("network.role"),
    (index) => {
      const found = pointed(store);
      if (!found) return;
      const { layer, channel } = found.place;
      store.update({ place: { ...found.place, ...placeAt(found.pass.model, layer, channel * grid.count + index) } });
    },
  );
  map.canvas.tabIndex = 0;
  return map;
}

/**
 * @param {NumberMap} map
 * @param {Pointed} found
 */
function drawLarge(map, { pass, place }) {
  const values = numbersAt(pass, place.layer);
  const start = place.channel * map.grid.count;
  const at = indexOf({ outputShape: shapeAt(pass.model, place.layer) }, place) - start;
  map.draw(values, start, place.layer === INPUT ? [0, 1] : rangeOf(values));
  map.mark(at, [cellOutline(map.grid, at, "cell")]);
}

/** @param {Store} store */
function moveButtons(store) {
  const directions = /** @type {[string, number[], number][]} */ ([
    ["left", [0, -1], 0],
    ["up", [-1, 0], 0],
    ["down", [1, 0], 0],
    ["right", [0, 1], 0],
    ["previous", [0, 0], -1],
    ["next", [0, 0], 1],
  ]);
  const signs = ["←", "↑", "↓", "→", "−", "+"];

  /**
   * The place after a step; null at the edge.
   *
   * @param {Pointed} found
   * @param {number[]} step down and right
   * @param {number} channels
   */
  function stepped({ pass, place }, step, channels) {
    const shape = shapeAt(pass.model, place.layer);
    const isVector = shape.length === 1;
    const channel = place.channel + channels;
    if (channels) return !isVector && channel >= 0 && channel < shape[0] ? { ...place, channel } : null;
    const grid = gridOf(shape);
    const start = isVector ? 0 : place.channel * grid.count;
    const index = steppedIndex(grid, indexOf({ outputShape: shape }, place) - start, step);
    if (index === undefined) return null;
    return { ...place, ...placeAt(pass.model, place.layer, start + index) };
  }

  const buttons = directions.map(([name, step, channels], n) => {
    const onclick = () => {
      const found = pointed(store);
      const place = found && stepped(found, step, channels);
      if (place) store.update({ place });
    };
    return element("button", { type: "button", onclick, "aria-label": text(`number.${name}`) }, signs[n]);
  });
  const label = element("span", { className: "quiet" }, text("number.channelMoves"));
  const group = element("div", { className: "moves", role: "group", "aria-label": text("number.moves") });
  group.append(...buttons.slice(0, 4), label, ...buttons.slice(4));
  return {
    element: group,
    /** @param {Pointed} found */
    draw(found) {
      directions.forEach(([, step, channels], n) => {
        buttons[n].setAttribute("aria-disabled", String(stepped(found, step, channels) === null));
      });
    },
  };
}

/** Every map of every layer, the flattened vector, the dense layers: of one network, or of two with their difference. */

import { rangeOf, symmetricRange } from "../drawing.js";
import { element, newId, number, text } from "../dom.js";
import { pairLayers, ROUNDING } from "../matching.js";
import {
  highlightedChannel,
  INPUT,
  layerName,
  numbersAt,
  placeAt,
  pointed,
  pointedDifference,
  pointedTrace,
  shapeAt,
  sourceRegions,
} from "../pointed.js";
import { indexOf } from "../trace.js";
import { describeAt, describeLayer } from "./layer_words.js";
import { enterAt } from "./roving.js";
import { cellOutline, gridOf, NumberMap, phone } from "./maps.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../store.js").SideName} SideName
 * @typedef {import("../network.js").Layer} Layer
 * @typedef {import("../matching.js").Pair} Pair
 * @typedef {import("./maps.js").Outline} Outline
 *
 * @typedef {object} Row the maps of one layer for one side, or their difference
 * @property {SideName | "difference"} name
 * @property {SideName} side where a number of the row is pointed at
 * @property {number} layer of this side
 * @property {HTMLElement} box
 * @property {HTMLElement} caption
 * @property {NumberMap[]} maps one for each channel; for a vector a single one
 */

/** @param {Store} store */
export function layersView(store) {
  const list = element("ol", { className: "layers" });
  /** @type {LayerBox[]} */
  let boxes = [];
  let shown = "";

  function drawAll() {
    const key = layoutOf(store);
    if (key !== shown) {
      const { a, b } = store.passes;
      const pairs = [{ a: INPUT, b: null, isComparable: false }, ...pairLayers(a.model.layers, b?.model.layers ?? [])];
      boxes = pairs.map((pair) => new LayerBox(store, pair));
      list.replaceChildren(...boxes.map((box) => box.item));
      shown = key;
    }
    for (const box of boxes) box.draw();
    for (const box of boxes) box.mark();
  }

  store.views.push((changed) => {
    if (["a", "b", "runs", "image"].some((key) => changed.has(/** @type {any} */ (key)))) drawAll();
    else if (changed.has("place") || changed.has("highlighted")) boxes.forEach((box) => box.mark());
  });
  phone.addEventListener("change", drawAll);
  drawAll();
  const hint = element("p", { className: "quiet" }, text("network.hint"));
  const title = element("h2", {}, text("network.title"));
  return element("section", { className: "network", "aria-label": text("network.title") }, title, hint, list);
}

/**
 * What the layout depends on: the layers, whether there are two sides, and the width of the window.
 *
 * @param {Store} store
 */
function layoutOf(store) {
  const { a, b } = store.passes;
  const describe = (/** @type {Layer[]} */ layers) =>
    layers.map((layer) => `${layer.name} ${describeLayer(layer)}`).join(";");
  return `${describe(a.model.layers)}|${b ? describe(b.model.layers) : ""}|${phone.matches}`;
}

/** The maps of one layer, or of the image. */
class LayerBox {
  /**
   * @param {Store} store
   * @param {Pair} pair
   */
  constructor(store, pair) {
    this.store = store;
    this.pair = pair;
    /** @type {Row[]} */
    this.rows = [];
    if (pair.a !== null) this.rows.push(this.#row("a", "a", pair.a));
    if (pair.b !== null) this.rows.push(this.#row("b", "b", pair.b));
    if (pair.a !== null && pair.isComparable) this.rows.push(this.#row("difference", "a", pair.a));
    const title = element("h3", { id: newId() }, layerName(this.#model(this.rows[0].side), this.rows[0].layer));
    this.item = element(
      "li",
      { className: pair.a === INPUT ? "image" : "layer", "aria-labelledby": title.id },
      element("header", {}, title, ...this.#descriptions().map((description) => element("p", {}, description))),
      ...this.rows.map((row) => row.box),
    );
  }

  /** What the layer does: one sentence, or one for each side if they differ. */
  #descriptions() {
    const sides = this.rows.filter(({ name }) => name !== "difference");
    const found = sides.map(({ side, layer }) => describeAt(this.#model(side), layer));
    if (new Set(found).size === 1) return found.slice(0, 1);
    return found.map((description, n) => `${text(`side.${sides[n].side}`)}: ${description}`);
  }

  /** @param {SideName} side */
  #model(side) {
    return (this.store.passes[side] ?? this.store.passes.a).model;
  }

  /**
   * @param {Row["name"]} name
   * @param {SideName} side
   * @param {number} layer
   * @returns {Row}
   */
  #row(name, side, layer) {
    const model = this.#model(side);
    const shape = shapeAt(model, layer);
    const isVector = shape.length === 1;
    const caption = element("p", { className: "caption" });
    const group = element("div", { className: isVector ? "vector" : "maps", role: "group" });
    const sideName = this.store.passes.b && layer !== INPUT ? text(`side.${name}`) : "";
    group.setAttribute("aria-label", `${layerName(model, layer)} ${sideName}`.trim());
    /** @type {Row} */
    const row = { name, side, layer, caption, maps: [], box: element("div", { className: `row ${name}` }) };
    row.maps = Array.from({ length: isVector ? 1 : shape[0] }, (_, channel) => this.#map(row, shape, channel));
    row.maps[0].canvas.tabIndex = 0;
    group.append(...row.maps.map((map) => map.element));
    row.box.append(caption, group);
    return row;
  }

  /**
   * @param {Row} row
   * @param {number[]} shape
   * @param {number} channel
   */
  #map(row, shape, channel) {
    const { layer, side } = row;
    const name = layerName(this.#model(side), layer);
    const [, height, width] = shape;
    const what = height === undefined
      ? text("network.vector", { layer: name, units: shape[0] })
      : text("network.map", { layer: name, channel: channel + 1, height, width });
    const label = this.store.passes.b && layer !== INPUT ? `${text(`side.${row.name}`)}: ${what}` : what;
    const grid = gridOf(shape);
    const map = new NumberMap(grid, label, text("network.role"), (index) => {
      const place = placeAt(this.#model(side), layer, channel * grid.count + index);
      this.store.update({ place: { side, isDifference: row.name === "difference", ...place } });
    });
    const highlight = (/** @type {boolean} */ isOn) =>
      this.store.update({ highlighted: isOn && height !== undefined ? { layer: name, channel } : null });
    map.canvas.addEventListener("pointerenter", () => highlight(true));
    map.canvas.addEventListener("pointerleave", () => highlight(false));
    map.canvas.addEventListener("focus", () => {
      enterAt(row.maps.map(({ canvas }) => canvas), map.canvas);
      highlight(true);
    });
    map.canvas.addEventListener("blur", () => highlight(false));
    map.canvas.addEventListener("keydown", (event) => this.#nextMap(event, row, channel));
    return map;
  }

  /**
   * With shift, arrow keys move to the next map, and take the place along.
   *
   * @param {KeyboardEvent} event
   * @param {Row} row
   * @param {number} channel
   */
  #nextMap(event, row, channel) {
    const step = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = step && event.shiftKey && row.maps[channel + step];
    if (!next) return;
    event.preventDefault();
    const { at } = row.maps[channel];
    next.canvas.focus();
    if (at !== null) next.go(at);
  }

  draw() {
    const { a, b } = this.store.passes;
    const ofA = this.pair.a === null ? new Float64Array() : numbersAt(a, this.pair.a);
    const ofB = !b || this.pair.b === null ? new Float64Array() : numbersAt(b, this.pair.b);
    const shared = this.pair.a === INPUT ? [0, 1] : this.pair.isComparable ? rangeOf(ofA, ofB) : null;
    for (const row of this.rows) {
      if (row.name === "difference") {
        const difference = ofA.map((value, i) => value - ofB[i]);
        const [, most] = symmetricRange(difference);
        const scale = Math.max(most, ROUNDING); // so that rounding looks like zero
        row.maps.forEach((map, channel) => map.draw(difference, channel * map.grid.count, [-scale, scale]));
        row.caption.textContent = text("network.difference", {
          most: number(most),
          scale: scale > ROUNDING ? number(scale) : String(ROUNDING),
        });
      } else {
        const values = row.name === "a" ? ofA : ofB;
        const range = /** @type {import("../drawing.js").Range} */ (shared ?? rangeOf(values));
        row.maps.forEach((map, channel) => map.draw(values, channel * map.grid.count, range));
        const side = b && row.layer !== INPUT ? text(`side.${row.name}`) : "";
        row.caption.textContent = text("network.range", { side, low: number(range[0]), high: number(range[1]) }).trim();
      }
    }
  }

  /** Mark the channel that is highlighted, the number that is pointed at, and what it was computed from. */
  mark() {
    const found = pointed(this.store);
    const trace = pointedTrace(this.store);
    const rowName = found && (pointedDifference(this.store) ? "difference" : found.place.side);
    for (const row of this.rows) {
      const model = this.#model(row.side);
      const shape = shapeAt(model, row.layer);
      const isVector = shape.length === 1;
      const highlighted = isVector ? null : highlightedChannel(model, row.layer, this.store.state.highlighted);
      const place = found && (row.layer === INPUT || rowName === row.name) ? found.place : null;
      const sources = trace && place?.layer === row.layer + 1 ? sourceRegions(trace) : [];
      row.maps.forEach((map, channel) => {
        const isHere = place?.layer === row.layer && (isVector || place.channel === channel);
        const at = isHere ? indexOf({ outputShape: shape }, place) - channel * map.grid.count : null;
        const outlines = sources.flatMap((region) => sourceOutline(map.grid, region, isVector ? null : channel));
        map.mark(at, at === null ? outlines : [cellOutline(map.grid, at, "cell")]);
        map.element.classList.toggle("pointed", isHere && !isVector);
        map.element.classList.toggle("highlighted", highlighted === channel);
      });
    }
  }
}

/**
 * The outline of a region in one map.
 *
 * @param {import("./maps.js").Grid} grid
 * @param {import("../pointed.js").Region} region
 * @param {number | null} channel of the map; null for a vector
 * @returns {Outline[]} empty if the region is in another map
 */
function sourceOutline(grid, { channel: of, top, left, size }, channel) {
  if (channel === null) return [cellOutline(grid, of ?? 0, "part")];
  return of === null || of === channel ? [{ top, left, height: size, width: size, kind: "window" }] : [];
}

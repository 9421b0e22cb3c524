/** The window that a convolution or a pooling saw: inputs, kernel and products of one input channel, sums of all. */

import { drawMap, rangeOf, symmetricRange } from "../drawing.js";
import { element, text } from "../dom.js";
import { placeName } from "../pointed.js";
import { HeatTable } from "./heat_table.js";
import { exactly } from "./number_equations.js";
import { scrollBox } from "./tool_parts.js";

/**
 * @typedef {import("../store.js").Pass} Pass
 * @typedef {import("../trace.js").Trace} Trace
 * @typedef {import("../trace.js").Place} Place
 */

export class WindowPart {
  /**
   * @param {Trace} trace of the kind that the part will show
   * @param {(place: Place) => void} goTo called with the place of a chosen input
   */
  constructor(trace, goTo) {
    const { size } = trace.layer;
    const isConvolution = trace.layer.kind === "conv";
    this.channel = 0; // place in the windows of the one whose numbers are shown
    /** @type {(Place | null)[]} null outside of the layer before */
    this.places = [];
    this.inputs = new HeatTable(text("number.inputs"), size, size, (index) => {
      const place = this.places[index];
      if (place) goTo(place);
    });
    this.kernel = isConvolution ? new HeatTable(text("number.kernel"), size, size) : null;
    this.products = isConvolution ? new HeatTable(text("number.products"), size, size) : null;
    const tables = [this.inputs, this.kernel, this.products].flatMap((table) => (table ? [table.element] : []));
    this.padding = element("p", { className: "quiet" }, text("number.padding"));
    const box = scrollBox(text("number.window"), ...tables);
    box.classList.add("heats");
    this.element = element("div", {}, box, this.padding);
    /** @type {(() => void)} */
    this.refill = () => {};
    this.rows = trace.windows.length > 1 ? trace.windows.map((_, n) => this.#channelRow(n)) : [];
    if (this.rows.length) this.element.append(this.#channelTable());
  }

  /** @param {number} n */
  #channelRow(n) {
    const choose = () => {
      this.channel = n;
      this.refill();
    };
    const button = element("button", { type: "button", onclick: choose }, text("number.channel", { channel: n + 1 }));
    const pictures = ["inputs", "kernel", "products"].map(() => element("canvas", { "aria-hidden": "true" }));
    const sum = element("td");
    const cells = pictures.map((picture) => element("td", {}, picture));
    const row = element("tr", {}, element("th", { scope: "row" }, button), ...cells, sum);
    return { row, button, pictures, sum };
  }

  #channelTable() {
    const heads = ["from", "inputs", "kernel", "products", "channelSum"].map((name) =>
      element("th", { scope: "col" }, text(`number.${name}`))
    );
    const body = element("tbody", {}, ...this.rows.map(({ row }) => row));
    const head = element("thead", {}, element("tr", {}, ...heads));
    return scrollBox(text("number.channels"), element("table", { className: "channels" }, head, body));
  }

  /**
   * @param {Trace} trace
   * @param {Pass} pass
   */
  fill(trace, pass) {
    this.refill = () => this.fill(trace, pass);
    const { windows, layer } = trace;
    const shown = windows[this.channel];
    this.places = shown.inputs.map((_, at) => inputPlace(trace, shown.channel, at));
    this.padding.hidden = this.places.every((place) => place !== null);
    const inputRange = rangeOf(...windows.map(({ inputs }) => inputs));
    const largest = layer.kind === "pool" && layer.pooling === "max" ? shown.inputs.indexOf(trace.sum) : -1;
    this.inputs.fill(
      shown.inputs,
      inputRange,
      (index) => !this.places[index] ? "outside" : index === largest ? "largest" : "",
      (index) => {
        const place = this.places[index];
        if (!place) return text("number.outside");
        return text("number.line", { place: placeName(pass.model, [], place), value: shown.inputs[index] });
      },
    );
    const weightRange = symmetricRange(...windows.map(({ weights }) => weights));
    const productRange = symmetricRange(...windows.map(({ products }) => products));
    this.kernel?.fill(shown.weights, weightRange);
    this.products?.fill(shown.products, productRange);
    if (this.kernel) {
      const names = { channel: shown.channel + 1, sum: exactly(shown.sum) };
      this.inputs.caption.textContent = text("number.inputsOf", names);
      this.products?.caption.replaceChildren(text("number.productsOf", names));
    }
    this.rows.forEach(({ button, pictures, sum }, n) => {
      const { inputs, weights, products } = windows[n];
      button.setAttribute("aria-pressed", String(n === this.channel));
      drawMap(pictures[0], inputs, 0, layer.size, layer.size, inputRange);
      drawMap(pictures[1], weights, 0, layer.size, layer.size, weightRange);
      drawMap(pictures[2], products, 0, layer.size, layer.size, productRange);
      sum.textContent = exactly(windows[n].sum);
    });
  }
}

/**
 * The place of an input in the layer before; null outside of it.
 *
 * @param {Trace} trace
 * @param {number} channel of the input
 * @param {number} at index in the window
 * @returns {Place | null}
 */
function inputPlace({ layer, window, place }, channel, at) {
  if (!window) return null;
  const [, height, width] = layer.inputShape;
  const [y, x] = [window.top + Math.floor(at / window.size), window.left + at % window.size];
  return y >= 0 && x >= 0 && y < height && x < width ? { layer: place.layer - 1, channel, y, x } : null;
}

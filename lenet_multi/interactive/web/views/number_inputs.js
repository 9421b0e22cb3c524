/** Where a number of a vector comes from: the largest contributions to a dense unit, or the place before flatten. */

import { element, number, text } from "../dom.js";
import { placeInMaps } from "../forward.js";
import { placeAt, placeName } from "../pointed.js";
import { exactly } from "./number_equations.js";
import { scrollBox } from "./tool_parts.js";

/**
 * @typedef {import("../network.js").Model} Model
 * @typedef {import("../store.js").Pass} Pass
 * @typedef {import("../trace.js").Trace} Trace
 * @typedef {import("../trace.js").Place} Place
 */

const [FIRST, MORE] = [10, 40]; // contributions shown at first, and added by the button

export class DensePart {
  /**
   * @param {Trace} _
   * @param {(place: Place) => void} goTo called with the place of a chosen input
   */
  constructor(_, goTo) {
    this.goTo = goTo;
    this.count = FIRST;
    /** @type {ReturnType<DensePart["row"]>[]} */
    this.rows = [];
    this.body = element("tbody");
    this.rest = element("td");
    this.restName = element("th", { scope: "row", colSpan: 3 });
    this.sum = element("td");
    const heads = ["from", "input", "weight", "product"].map((name) =>
      element("th", { scope: "col" }, text(`number.${name}`))
    );
    const sumName = element("th", { scope: "row", colSpan: 3 }, text("number.productSum"));
    const table = element(
      "table",
      { className: "contributions" },
      element("caption", {}, text("number.contributions")),
      element("thead", {}, element("tr", {}, ...heads)),
      this.body,
      element("tfoot", {}, element("tr", {}, this.restName, this.rest), element("tr", {}, sumName, this.sum)),
    );
    this.refill = () => {};
    const more = () => {
      this.count += MORE;
      this.refill();
    };
    this.more = element("button", { type: "button", onclick: more }, text("number.more", { count: MORE }));
    this.element = element("div", {}, scrollBox(text("number.contributions"), table), this.more);
  }

  row() {
    const made = {
      place: /** @type {Place | null} */ (null),
      button: element("button", { type: "button", className: "link" }),
      cells: [element("td"), element("td"), element("td")],
      row: element("tr"),
    };
    made.button.addEventListener("click", () => made.place && this.goTo(made.place));
    made.row.append(element("th", { scope: "row" }, made.button), ...made.cells);
    this.body.append(made.row);
    return made;
  }

  /**
   * @param {Trace} trace
   * @param {Pass} pass
   */
  fill(trace, pass) {
    this.refill = () => this.fill(trace, pass);
    const shown = trace.contributions.slice(0, this.count);
    while (this.rows.length < shown.length) this.rows.push(this.row());
    this.rows.forEach(({ row }, n) => (row.hidden = n >= shown.length));
    shown.forEach(({ index, input, weight, product }, n) => {
      const made = this.rows[n];
      made.place = { layer: trace.place.layer - 1, channel: index, y: 0, x: 0 };
      made.button.textContent = originName(pass.model, made.place);
      [input, weight, product].forEach((value, at) => {
        made.cells[at].textContent = number(value);
        made.cells[at].title = exactly(value);
      });
    });
    const rest = trace.contributions.slice(shown.length);
    this.restName.textContent = text("number.rest", { count: rest.length });
    this.rest.textContent = exactly(rest.reduce((sum, { product }) => sum + product, 0));
    this.sum.textContent = exactly(trace.sum - trace.bias);
    this.more.hidden = !rest.length;
  }
}

/**
 * The name of an input of a dense unit: its map and place before flatten, or its unit.
 *
 * @param {Model} model
 * @param {Place} place
 */
function originName(model, place) {
  const layer = model.layers[place.layer];
  if (layer.kind !== "flatten") return placeName(model, [], place);
  const inMaps = placeInMaps(layer, place.channel, model.channelsLast);
  return placeName(model, [], placeAt(model, place.layer - 1, inMaps));
}

export class FlattenPart {
  /**
   * @param {Trace} _
   * @param {(place: Place) => void} goTo called with the place that the number comes from
   */
  constructor(_, goTo) {
    /** @type {Place | null} */
    this.place = null;
    this.origin = element("button", {
      type: "button",
      className: "link",
      onclick: () => this.place && goTo(this.place),
    });
    this.first = element("p");
    this.last = element("p");
    const from = element("p", {}, text("number.copied"), " ", this.origin);
    this.element = element("div", {}, from, this.first, this.last);
  }

  /**
   * @param {Trace} trace
   * @param {Pass} pass
   */
  fill({ source, place, layer }, pass) {
    if (!source) return;
    this.place = { layer: place.layer - 1, channel: source.channel, y: source.y, x: source.x };
    this.origin.textContent = placeName(pass.model, [], this.place);
    const count = layer.outputShape[0];
    this.first.textContent = text("number.channelsFirst", { place: source.channelsFirst + 1, count });
    this.last.textContent = text("number.channelsLast", { place: source.channelsLast + 1, count });
  }
}

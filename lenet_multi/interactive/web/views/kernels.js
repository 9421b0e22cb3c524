/** Kernels and weights as pictures: all kernels of a convolution, or the weights of a unit, on one scale. */

import { symmetricRange } from "../drawing.js";
import { element, number, text } from "../dom.js";
import { parameter, sizeOf, weightShape } from "../network.js";
import { highlightedChannel } from "../pointed.js";
import { HeatTable } from "./heat_table.js";
import { enterAt, roveFocus } from "./roving.js";
import { scaleLegend } from "./scale_legend.js";
import { drawWhileVisible, fillSelect, labelledSelect, scrollBox } from "./tool_parts.js";
import { weightLayout, WeightPicture } from "./weight_pictures.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../network.js").Layer} Layer
 * @typedef {import("../network.js").Model} Model
 *
 * @typedef {object} Shown
 * @property {Model} model
 * @property {Layer} layer
 * @property {number} index of the layer
 */

const MOST_IN_TABLE = 16; // side of a kernel up to which its numbers are shown

/** @param {Store} store */
export function kernelsView(store) {
  const side = element("select", { onchange: () => draw() });
  fillSelect(side, ["a", "b"].map((name) => [name, text(`side.${name}`)]));
  const layers = element("select", { onchange: () => draw() });
  const units = element("select", { onchange: () => draw() });
  const inputs = element("select", { onchange: () => draw() });
  const sideLabel = labelledSelect("kernels.side", side);
  const inputLabel = labelledSelect("kernels.input", inputs);
  const group = element("div", { className: "kernel-pictures", role: "group" });
  const bias = element("p");
  const large = element("div");
  const legend = scaleLegend();
  const chosen = element("div", { className: "choices" }, labelledSelect("kernels.unit", units), inputLabel);
  const content = element(
    "div",
    { className: "kernels" },
    element("div", { className: "choices" }, sideLabel, labelledSelect("kernels.layer", layers)),
    group,
    legend.element,
    chosen,
    bias,
    large,
  );
  roveFocus(group, "button", () => 0);
  let [offered, built] = ["", ""];
  /** @type {WeightPicture[]} of all channels of a convolution, or of the chosen unit */
  let pictures = [];
  /** @type {HTMLButtonElement[]} */
  let buttons = [];
  /** @type {HeatTable | null} */
  let table = null;

  /** @returns {Shown} */
  function current() {
    const { model } = (side.value === "b" && store.passes.b) || store.passes.a;
    const names = model.layers.filter((layer) => sizeOf(weightShape(layer))).map(({ name }) => name);
    if (String(names) !== offered) fillSelect(layers, names.map((name) => [name, name]));
    offered = String(names);
    const index = model.layers.findIndex(({ name }) => name === layers.value);
    return { model, layer: model.layers[index], index };
  }

  /** @param {Shown} shown */
  function build({ model, layer, index }) {
    const { tiles, areMaps } = weightLayout(model, index);
    const isLast = index === model.layers.length - 1;
    const { classes } = store.facts;
    const nameOf = (/** @type {number} */ n) => (isLast && n < classes.length ? `${n + 1}: ${classes[n]}` : `${n + 1}`);
    fillSelect(units, Array.from({ length: layer.outputShape[0] }, (_, n) => [`${n}`, nameOf(n)]));
    fillSelect(inputs, Array.from({ length: tiles.count }, (_, n) => [`${n}`, `${n + 1}`]));
    [units.value, inputs.value] = ["0", "0"];
    inputLabel.hidden = tiles.count === 1;
    const isConvolution = layer.kind === "conv";
    pictures = Array.from({ length: isConvolution ? layer.outputShape[0] : 1 }, () => new WeightPicture(tiles));
    buttons = isConvolution ? pictures.map((picture, n) => channelButton(layer, picture, n)) : [];
    group.replaceChildren(...(isConvolution ? buttons : pictures.map((picture) => picture.element)));
    group.tabIndex = isConvolution ? -1 : 0; // without buttons, the keyboard needs another way to scroll it
    group.setAttribute("aria-label", text("kernels.of", { layer: layer.name }));
    const isTable = areMaps && Math.max(tiles.height, tiles.width) <= MOST_IN_TABLE;
    table = isTable ? new HeatTable("", tiles.height, tiles.width) : null;
    large.replaceChildren(...(table ? [scrollBox(text("kernels.of", { layer: layer.name }), table.element)] : []));
  }

  /**
   * @param {Layer} layer
   * @param {WeightPicture} picture
   * @param {number} channel
   */
  function channelButton(layer, picture, channel) {
    const highlight = (/** @type {boolean} */ isOn) =>
      store.update({ highlighted: isOn ? { layer: layer.name, channel } : null });
    const button = element("button", {
      type: "button",
      "aria-label": text("number.channel", { channel: channel + 1 }),
      onclick: () => {
        units.value = `${channel}`;
        draw();
      },
      onfocus: () => highlight(true),
      onblur: () => highlight(false),
      onpointerenter: () => highlight(true),
      onpointerleave: () => highlight(false),
    });
    button.append(picture.element, element("span", { "aria-hidden": "true" }, `${channel + 1}`));
    return button;
  }

  function draw() {
    sideLabel.hidden = !store.passes.b;
    const shown = current();
    const { model, layer, index } = shown;
    const { tiles } = weightLayout(model, index);
    const layout = `${layer.name} ${weightShape(layer)} ${Object.values(tiles)}`;
    if (layout !== built) build(shown);
    built = layout;
    const weight = parameter(model, `${layer.name}.weight`);
    const range = symmetricRange(weight);
    const [unit, input] = [Number(units.value), Number(inputs.value)];
    const each = weight.length / layer.outputShape[0];
    const weightsOf = (/** @type {number} */ n) => weight.subarray(n * each, (n + 1) * each);
    pictures.forEach((picture, n) => picture.draw(weightsOf(buttons.length ? n : unit), range));
    buttons.forEach((button, n) => button.setAttribute("aria-pressed", String(n === unit)));
    if (buttons.length) enterAt(buttons, buttons[unit]);
    legend.draw(range);
    const value = number(parameter(model, `${layer.name}.bias`)[unit], 4);
    bias.textContent = text("kernels.bias", { unit: unit + 1, value });
    if (table) {
      const area = tiles.height * tiles.width;
      const names = { unit: unit + 1, input: input + 1 };
      table.caption.textContent = text(tiles.count > 1 ? "kernels.numbersOf" : "kernels.numbers", names);
      table.fill(weightsOf(unit).subarray(input * area, (input + 1) * area), range);
    }
    mark(shown);
  }

  /**
   * Mark the highlighted channel: its own kernels, or those that read it.
   *
   * @param {Shown} shown
   */
  function mark({ model, index }) {
    const { highlighted } = store.state;
    const { areMaps, inputLayer } = weightLayout(model, index);
    const own = highlightedChannel(model, index, highlighted);
    buttons.forEach((button, n) => button.classList.toggle("highlighted", n === own));
    const read = areMaps ? highlightedChannel(model, inputLayer, highlighted) : null;
    for (const picture of pictures) picture.mark(read);
  }

  drawWhileVisible(store, content, ["a", "b", "runs"], draw);
  drawWhileVisible(store, content, ["highlighted"], () => mark(current()));
  return content;
}

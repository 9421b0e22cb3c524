/** The controls that break a network: each has a name and says what it does. */

import { element, newId, text } from "../dom.js";
import { columnsOf, enterAt, roveFocus } from "./roving.js";
import { labelled } from "./tool_parts.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../network.js").Model} Model
 * @typedef {import("../network.js").Layer} Layer
 * @typedef {import("../changes.js").Changes} Changes
 *
 * @typedef {(patch: Partial<Changes>) => void} Change
 *
 * @typedef {object} Control
 * @property {HTMLElement} box
 * @property {(unbroken: Model, changes: Changes) => void} show
 */

const MOST_SWITCHES = 256; // buttons in the page for one layer

/**
 * @param {string} name of the texts
 * @param {HTMLElement} input gets a label, and the explanation as its description
 * @param {...(Node | string)} more
 */
function explainedBox(name, input, ...more) {
  const explanation = element("p", { className: "quiet", id: newId() }, text(`break.${name}.why`));
  input.setAttribute("aria-describedby", explanation.id);
  return element("div", { className: "damage" }, ...labelled(text(`break.${name}`), input), ...more, explanation);
}

/**
 * @param {"channelsLast"} name
 * @param {(model: Model) => boolean} fits
 * @param {Change} change
 * @returns {Control}
 */
export function checkControl(name, fits, change) {
  const input = element("input", { type: "checkbox", onchange: () => change({ [name]: input.checked }) });
  const box = explainedBox(name, input);
  box.prepend(input, " ");
  return {
    box,
    show(unbroken, changes) {
      box.hidden = !fits(unbroken);
      input.checked = changes[name];
    },
  };
}

/**
 * @param {"transposed" | "shifted" | "pooling" | "activation"} name
 * @param {(model: Model) => {value: string, label: string}[]} choices none if the network cannot be broken like this
 * @param {Change} change
 * @returns {Control}
 */
export function selectControl(name, choices, change) {
  const select = element("select", { onchange: () => change({ [name]: select.value }) });
  const box = explainedBox(name, select);
  let shown = "";
  return {
    box,
    show(unbroken, changes) {
      const found = choices(unbroken);
      box.hidden = !found.length;
      if (JSON.stringify(found) !== shown) {
        shown = JSON.stringify(found);
        const all = [{ value: "", label: text("break.asTrained") }, ...found];
        select.replaceChildren(...all.map(({ value, label }) => element("option", { value }, label)));
      }
      select.value = found.some(({ value }) => value === changes[name]) ? changes[name] : "";
    },
  };
}

/**
 * @param {Change} change
 * @returns {Control}
 */
export function noiseControl(change) {
  const output = element("span", { "aria-hidden": "true" });
  const input = element("input", {
    type: "range",
    min: "0",
    max: "2",
    step: "0.05",
    oninput: () => change({ noise: Number(input.value) }),
  });
  const box = explainedBox("noise", input, output);
  return {
    box,
    show(_, changes) {
      input.value = String(changes.noise);
      output.textContent = text("break.deviations", { noise: changes.noise.toFixed(2) });
      input.setAttribute("aria-valuetext", output.textContent);
    },
  };
}

/**
 * A switch for each channel of a layer.
 *
 * @param {Store} store
 * @param {Change} change
 * @returns {Control}
 */
export function channelSwitches(store, change) {
  const select = element("select", { onchange: () => draw() });
  const rest = element("p", { className: "quiet" });
  const switches = element("div", { className: "switches", role: "group" });
  roveFocus(switches, "button", () => columnsOf(switches));
  const box = explainedBox("off", select, switches, rest);
  let [layersShown, switchesShown] = ["", ""];
  /** @type {Layer[]} */
  let layers = [];
  /** @type {string[]} */
  let off = [];

  /** @param {string} place as `conv1:3` */
  function toggle(place) {
    change({ off: off.includes(place) ? off.filter((other) => other !== place) : [...off, place] });
  }

  /**
   * @param {Layer} layer
   * @param {number} channel
   */
  function switchOf(layer, channel) {
    const point = () => store.update({ highlighted: { layer: layer.name, channel } });
    const leave = () => store.update({ highlighted: null });
    return element("button", {
      type: "button",
      "aria-label": text("break.channel", { channel: channel + 1, layer: layer.name }),
      onclick: () => toggle(`${layer.name}:${channel}`),
      onpointerenter: point,
      onpointerleave: leave,
      onfocus: point,
      onblur: leave,
    }, String(channel + 1));
  }

  function draw() {
    const layer = layers.find(({ name }) => name === select.value);
    if (!layer) return;
    const channels = layer.outputShape[0];
    if (`${layer.name} ${channels}` !== switchesShown) {
      switchesShown = `${layer.name} ${channels}`;
      const count = Math.min(channels, MOST_SWITCHES);
      const buttons = Array.from({ length: count }, (_, channel) => switchOf(layer, channel));
      switches.replaceChildren(...buttons);
      enterAt(buttons, buttons[0]);
      switches.setAttribute("aria-label", text("break.channels", { layer: layer.name }));
      rest.textContent = count < channels ? text("break.moreChannels", { count, channels }) : "";
    }
    [...switches.children].forEach((button, channel) => {
      button.setAttribute("aria-pressed", String(off.includes(`${layer.name}:${channel}`)));
    });
  }

  return {
    box,
    show(unbroken, changes) {
      layers = unbroken.layers.filter(({ kind }) => kind !== "flatten");
      off = changes.off;
      const names = layers.map(({ name }) => name);
      if (String(names) !== layersShown) {
        layersShown = String(names);
        const chosen = select.value;
        select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
        if (names.includes(chosen)) select.value = chosen;
      }
      draw();
    },
  };
}

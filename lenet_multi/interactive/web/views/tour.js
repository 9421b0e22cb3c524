/** The guided tour: steps with a question, something to do, and an answer that unfolds. */

import { element, newId, text } from "../dom.js";
import { sizeOf } from "../network.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../network.js").Layer} Layer
 * @typedef {import("../network.js").Model} Model
 */

const TOUR_STEPS = [1, 2, 3, 4, 5, 6, 7, 8];
const OF_CONVOLUTION = [2, 3, 4];
const OF_POOLING = [4];

/** @param {Store} store */
export function tourView(store) {
  let [shown, drawn] = [1, ""];
  const position = element("p", { className: "quiet", "aria-live": "polite" });
  const step = element("div", { className: "tour-step" });
  const previous = element("button", { type: "button" }, text("tour.previous"));
  const next = element("button", { type: "button" }, text("tour.next"));

  function draw() {
    const steps = tourSteps(store.passes.a.model);
    const values = tourValues(store);
    // The step itself can be gone with the network that it is about.
    shown = steps.filter((each) => each <= shown).pop() ?? steps[0];
    const key = JSON.stringify([shown, steps, values]);
    if (key === drawn) return; // so that an answer stays open
    drawn = key;
    const part = (/** @type {string} */ name) => text(`tour.${shown}.${name}`, values);
    const title = element("h3", { id: newId(), tabIndex: -1 }, part("title"));
    step.replaceChildren(
      title,
      element("p", { className: "question" }, part("question")),
      element("p", {}, part("do")),
      element("details", {}, element("summary", {}, text("tour.answer")), element("p", {}, part("answer"))),
    );
    const at = steps.indexOf(shown);
    position.textContent = text("tour.position", { step: at + 1, count: steps.length });
    previous.disabled = at === 0;
    next.disabled = at === steps.length - 1;
  }

  function go(/** @type {number} */ by) {
    const steps = tourSteps(store.passes.a.model);
    shown = steps[steps.indexOf(shown) + by];
    draw();
    step.querySelector("h3")?.focus();
  }
  previous.addEventListener("click", () => go(-1));
  next.addEventListener("click", () => go(1));
  store.views.push((changed) => {
    if (changed.has("a") || changed.has("runs")) draw();
  });
  draw();
  return element(
    "details",
    { className: "tour box" },
    element("summary", {}, element("h2", {}, text("tour.title"))),
    step,
    element("div", { className: "buttons" }, previous, next, position),
  );
}

/**
 * The numbers of the steps that fit a network.
 *
 * @param {Model} model
 */
function tourSteps({ layers }) {
  const has = (/** @type {Layer["kind"]} */ kind) => layers.some((layer) => layer.kind === kind);
  const left = [...(has("conv") ? [] : OF_CONVOLUTION), ...(has("pool") ? [] : OF_POOLING)];
  return TOUR_STEPS.filter((step) => !left.includes(step));
}

/**
 * What the texts of the tour say of the network of side A.
 *
 * @param {Store} store
 * @returns {Record<string, string | number>}
 */
function tourValues(store) {
  const { layers } = store.passes.a.model;
  const { inputShape } = store.facts;
  const first = layers.find((layer) => layer.kind === "conv");
  const flatten = /** @type {Layer} */ (layers.find((layer) => layer.kind === "flatten"));
  const window = first ? first.size * first.size : 0;
  return {
    shape: inputShape.join(" × "),
    numbers: sizeOf(inputShape),
    channels: inputShape[0],
    products: window * inputShape[0],
    window,
    maps: first ? first.outputShape[0] : 0,
    flat: flatten.outputShape[0],
    flatMaps: flatten.inputShape.join(" × "),
    classes: store.facts.classes.length,
  };
}

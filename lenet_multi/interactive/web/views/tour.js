/** The guided tour: steps with a question, something to do, and an answer that unfolds. */

import { element, newId, text } from "../dom.js";
import { sizeOf } from "../network.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../network.js").Layer} Layer
 */

const TOUR_STEPS = 8;

/** @param {Store} store */
export function tourView(store) {
  const values = tourValues(store);
  let shown = 1;
  const position = element("p", { className: "quiet", "aria-live": "polite" });
  const step = element("div", { className: "tour-step" });
  const previous = element("button", { type: "button" }, text("tour.previous"));
  const next = element("button", { type: "button" }, text("tour.next"));

  function draw() {
    const part = (/** @type {string} */ name) => text(`tour.${shown}.${name}`, values);
    const title = element("h3", { id: newId(), tabIndex: -1 }, part("title"));
    step.replaceChildren(
      title,
      element("p", { className: "question" }, part("question")),
      element("p", {}, part("do")),
      element("details", {}, element("summary", {}, text("tour.answer")), element("p", {}, part("answer"))),
    );
    position.textContent = text("tour.position", { step: shown, count: TOUR_STEPS });
    previous.disabled = shown === 1;
    next.disabled = shown === TOUR_STEPS;
  }

  function go(/** @type {number} */ by) {
    shown += by;
    draw();
    step.querySelector("h3")?.focus();
  }
  previous.addEventListener("click", () => go(-1));
  next.addEventListener("click", () => go(1));
  draw();
  return element(
    "details",
    { className: "tour box" },
    element("summary", {}, text("tour.title")),
    step,
    element("div", { className: "buttons" }, previous, next, position),
  );
}

/**
 * What the texts of the tour say of the first run's network.
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

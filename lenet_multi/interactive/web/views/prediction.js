/** Logits and probabilities with the names of the classes, as bars, and the likeliest class for screen readers. */

import { element, number, percent, text } from "../dom.js";
import { largestIndex, softmax } from "../forward.js";
import { onceRested } from "./rest.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../store.js").Pass} Pass
 * @typedef {import("../store.js").State} State
 */

const PREDICTION_KEYS = /** @type {(keyof State)[]} */ (["a", "b", "image", "label", "runs"]);

/** @param {Store} store */
export function predictionView(store) {
  const { classes } = store.facts;
  const announcement = element("p", { className: "announcement", "aria-live": "polite", role: "status" });
  const rows = classes.map((name) => {
    const [barA, barB] = ["a", "b"].map((side) => element("span", { className: `bar ${side}` }));
    const [logit, probability] = [element("td"), element("td")];
    const bars = element("td", { className: "bars", "aria-hidden": "true" }, barA, barB);
    const row = element("tr", {}, element("th", { scope: "row", title: name }, name), bars, probability, logit);
    return { row, barA, barB, logit, probability };
  });
  const [ofClass, ofProbability, ofLogit] = ["class", "probability", "logit"].map((name) => {
    return element("th", { scope: "col", className: `${name}-title` }, text(`prediction.${name}`));
  });
  const head = [ofClass, element("td", { className: "bar-title" }), ofProbability, ofLogit];
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows.map(({ row }) => row)),
  );

  function draw() {
    const [a, b] = [store.passes.a, store.passes.b].map((pass) => pass && pass.steps[pass.steps.length - 1].output);
    if (!a) return;
    const [probabilitiesA, probabilitiesB] = [softmax(a), b ? softmax(b) : null];
    const best = largestIndex(a);
    rows.forEach(({ row, barA, barB, logit, probability }, label) => {
      barA.style.width = percent(probabilitiesA[label]);
      barB.style.width = probabilitiesB ? percent(probabilitiesB[label]) : "0";
      barB.hidden = !probabilitiesB;
      const probabilities = [probabilitiesA[label], probabilitiesB?.[label]];
      showOfSides(probability, probabilities.map((value) => value?.toFixed(3)));
      showOfSides(logit, [a, b].map((logits) => logits ? number(logits[label], 2) : undefined));
      row.classList.toggle("best", label === best);
      row.classList.toggle("true", label === store.state.label);
    });
    announce();
  }

  const announce = onceRested(() => {
    const known = store.state.label === null ? "" : text("prediction.label", { name: classes[store.state.label] });
    announcement.textContent = `${likeliestOf(store)} ${known}`.trim();
  });

  store.views.push((changed) => {
    if (PREDICTION_KEYS.some((key) => changed.has(key))) draw();
  });
  draw();
  return element(
    "section",
    { className: "prediction", "aria-label": text("prediction.title") },
    element("h2", {}, text("prediction.title")),
    announcement,
    table,
  );
}

/**
 * The likeliest class in one line, for those who see the pad but not the table: it changes with every stroke, so screen
 * readers are spared it.
 *
 * @param {Store} store
 */
export function predictionLine(store) {
  const line = element("p", { className: "prediction-line", "aria-hidden": "true" });
  const draw = () => (line.textContent = likeliestOf(store));
  store.views.push((changed) => {
    if (PREDICTION_KEYS.some((key) => changed.has(key))) draw();
  });
  draw();
  return line;
}

/**
 * The likeliest class, or that of each network.
 *
 * @param {Store} store
 */
function likeliestOf({ facts, passes }) {
  const say = (/** @type {Pass} */ { steps }) => {
    const probabilities = softmax(steps[steps.length - 1].output);
    const label = largestIndex(probabilities);
    return text("prediction.likeliest", { name: facts.classes[label], percent: percent(probabilities[label]) });
  };
  return passes.b ? text("prediction.both", { a: say(passes.a), b: say(passes.b) }) : say(passes.a);
}

/**
 * Show the value of side A, or those of both sides in two lines that name them.
 *
 * @param {HTMLElement} cell
 * @param {(string | undefined)[]} values the second is undefined if one network is shown
 */
function showOfSides(cell, [ofA = "", ofB]) {
  if (ofB === undefined) {
    cell.textContent = ofA;
    return;
  }
  const line = (/** @type {"a" | "b"} */ side, /** @type {string} */ value) =>
    element("span", { className: "of-side" }, `${text(`side.${side}`)} ${value}`);
  cell.replaceChildren(line("a", ofA), line("b", ofB));
}

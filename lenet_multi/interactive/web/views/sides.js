/** Which networks are shown: A, and B next to it or none; and in which layer they first differ. */

import { areChanges, effectiveChanges, NO_CHANGES } from "../changes.js";
import { element, number, percent, text } from "../dom.js";
import { differencesOf, pairLayers, ROUNDING } from "../matching.js";
import { pointAt } from "../points.js";
import { onceRested } from "./rest.js";
import { fillSelect, labelledSelect } from "./tool_parts.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../store.js").Side} Side
 * @typedef {import("../store.js").SideName} SideName
 * @typedef {import("../store.js").Run} Run
 */

const [NO_RUN, LAST] = ["none", "last"];

/** @param {Store} store */
export function sidesView(store) {
  const pickers = [sidePicker(store, "a"), sidePicker(store, "b")];
  const swap = element("button", {
    type: "button",
    onclick: () => {
      const { a, b } = store.state;
      if (b) store.update({ a: b, b: a });
    },
  }, text("sides.swap"));
  const sentence = element("p", { className: "difference-sentence", "aria-live": "polite" });
  const compare = () => (sentence.textContent = differenceSentence(store));
  const compareLater = onceRested(compare);
  const draw = () => {
    for (const picker of pickers) picker.draw();
    swap.disabled = !store.state.b;
    compare();
  };
  store.views.push((changed) => {
    if (changed.has("a") || changed.has("b") || changed.has("runs")) draw();
    else if (changed.has("image")) compareLater();
  });
  draw();
  const title = element("h2", {}, text("sides.title"));
  const row = element("div", { className: "pickers" }, ...pickers.map((picker) => picker.element), swap);
  return element("section", { className: "sides", "aria-label": text("sides.title") }, title, row, sentence);
}

/**
 * @param {Store} store
 * @param {SideName} name
 */
function sidePicker(store, name) {
  const run = element("select", {
    onchange: () => {
      const { [name]: before, runs } = store.state;
      if (run.value === NO_RUN) return store.update({ [name]: null });
      const chosen = Number(run.value);
      // No control would show, or take away, a change of what this network lacks.
      const changes = effectiveChanges(runs[chosen].model, before?.changes ?? NO_CHANGES);
      store.update({ [name]: { run: chosen, epoch: null, changes } });
    },
  });
  const epoch = element("select", {
    onchange: () => {
      const before = store.state[name];
      const chosen = epoch.value === LAST ? null : Number(epoch.value);
      if (before) store.update({ [name]: { ...before, epoch: chosen } });
    },
  });
  const epochLabel = labelledSelect("sides.epoch", epoch);
  const facts = element("p", { className: "quiet" });
  const made = element("div", { className: `picker ${name}` }, labelledSelect(`side.${name}`, run), epochLabel, facts);

  function draw() {
    const { runs } = store.state;
    const side = store.state[name];
    const none = name === "b" ? [[NO_RUN, text("sides.none")]] : [];
    fillSelect(run, [...none, ...runs.map(({ title }, n) => [String(n), title])]);
    run.value = side ? String(side.run) : NO_RUN;
    const epochs = side ? runs[side.run].epochs : [];
    const names = epochs.map((each, n) => [String(n), text("sides.afterEpoch", { epoch: each.epoch })]);
    fillSelect(epoch, [[LAST, text("sides.end")], ...names]);
    epoch.value = side?.epoch == null ? LAST : String(side.epoch);
    epochLabel.hidden = !epochs.length;
    facts.textContent = side ? factsOf(runs[side.run], side) : "";
  }
  return { element: made, draw };
}

/**
 * @param {Run} run
 * @param {Side} side
 */
function factsOf(run, side) {
  const changed = areChanges(run.model, side.changes) ? ` ${text("sides.changed")}` : "";
  const accuracy = side.epoch === null
    ? run.testAccuracy
    : pointAt(run.points, run.epochs[side.epoch].epoch).testAccuracy;
  const measured = accuracy === null
    ? text("sides.noAccuracy")
    : text("sides.accuracy", { percent: percent(accuracy) });
  const facts = run.facts ? `${run.facts}. ` : "";
  return `${facts}${measured}${changed}`;
}

/** @param {Store} store */
function differenceSentence(store) {
  const { a, b } = store.passes;
  if (!b) return "";
  const compared = differencesOf(a, b);
  const pairs = pairLayers(a.model.layers, b.model.layers).length;
  const left = compared.length < pairs ? ` ${text("sides.notCompared", { count: pairs - compared.length })}` : "";
  if (!compared.length) return text("sides.nothingCompared");
  const first = compared.find(({ most }) => most > ROUNDING);
  const largest = Math.max(...compared.map(({ most }) => most));
  const values = { limit: String(ROUNDING), largest: number(largest), layer: first?.layer.name ?? "" };
  if (!first) {
    return text(largest === 0 ? "sides.equal" : "sides.rounding", values) + left;
  }
  return text("sides.first", { ...values, most: number(first.most) }) + left;
}

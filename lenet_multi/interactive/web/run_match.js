/** Whether another network can be compared with those of the page: the same input, and the same classes. */

import { shortName } from "./short_name.js";

/**
 * @param {import("./store.js").Facts} facts
 * @param {import("./network.js").Model} model
 * @param {string[]} classes of the model; empty if they are not known
 * @returns {{key: string, values: Record<string, string | number>} | null} the text that says why not
 */
export function whyNotComparable(facts, model, classes) {
  const [shape, expected] = [model.inputShape, facts.inputShape].map((each) => each.join(" × "));
  if (shape !== expected) return { key: "files.otherShape", values: { shape, expected } };
  const count = model.layers[model.layers.length - 1].outputShape[0];
  if (count !== facts.classes.length) {
    return { key: "files.otherCount", values: { count, expected: facts.classes.length } };
  }
  if (!classes.length) return null;
  // As Python names those of the page.
  const named = classes.map((name, label) => shortName(name) || String(label));
  const at = facts.classes.findIndex((name, label) => name !== named[label]);
  if (at < 0 && classes.length === count) return null;
  const label = Math.max(0, at);
  return {
    key: "files.otherClass",
    values: { number: label + 1, other: named[label] ?? "", expected: facts.classes[label] },
  };
}

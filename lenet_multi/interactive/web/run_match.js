/** Whether another network can be compared with those of the page: the same input, and the same classes. */

const LONGEST = 60; // characters of a name, as in Python

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
  const at = facts.classes.findIndex((name, label) => name !== shortName(classes[label] ?? ""));
  if (at < 0 && classes.length === count) return null;
  const label = Math.max(0, at);
  return {
    key: "files.otherClass",
    values: { number: label + 1, other: shortName(classes[label] ?? ""), expected: facts.classes[label] },
  };
}

/**
 * A name in one line, as Python shortens those of the page.
 *
 * @param {string} name
 */
function shortName(name) {
  const line = name.slice(0, 10 * LONGEST).split(/\s+/).filter(Boolean).join(" ");
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST - 1).trimEnd()}…`;
}

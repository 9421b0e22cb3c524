/** Test images to choose from: one of each class, or all that travel along of one class. */

import { element, newId, text } from "../dom.js";
import { drawImage } from "../drawing.js";
import { columnsOf, enterAt, roveFocus } from "./roving.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../store.js").Example} Example
 */

/**
 * @param {Store} store
 * @returns {HTMLElement | null} null if there are no test images
 */
export function examplesView(store) {
  const { classes, examples, inputShape } = store.facts;
  const present = classes.map((_, label) => label).filter((label) => examples.some((each) => each.label === label));
  if (!present.length) return null;
  const id = newId();
  const choice = element(
    "select",
    { id },
    element("option", { value: "" }, text("examples.all")),
    ...present.map((label) => element("option", { value: String(label) }, classes[label])),
  );
  const list = element("div", { className: "thumbnails", role: "group", "aria-label": text("examples.title") });
  roveFocus(list, "button", () => columnsOf(list));
  /** @type {{example: Example, button: HTMLElement}[]} */
  let shown = [];

  /** @param {Example} example */
  function thumbnail(example) {
    const canvas = element("canvas", { "aria-hidden": "true" });
    drawImage(canvas, example.image, inputShape);
    const name = text("examples.name", { name: classes[example.label], index: example.index });
    const caption = choice.value ? String(example.index) : classes[example.label];
    const button = element(
      "button",
      { type: "button", "aria-label": name, title: name },
      canvas,
      element("span", { className: "caption", "aria-hidden": "true" }, caption),
    );
    button.addEventListener("click", () => store.update({ image: example.image, label: example.label }));
    return { example, button };
  }

  function fill() {
    const label = Number(choice.value);
    const chosen = choice.value
      ? examples.filter((each) => each.label === label)
      : present.flatMap((each) => examples.find((example) => example.label === each) ?? []);
    shown = chosen.map(thumbnail);
    const buttons = shown.map(({ button }) => button);
    list.replaceChildren(...buttons);
    enterAt(buttons, (shown.find(({ example }) => example.image === store.state.image) ?? shown[0]).button);
    mark();
  }

  function mark() {
    for (const { example, button } of shown) {
      button.setAttribute("aria-pressed", String(example.image === store.state.image));
    }
  }

  choice.addEventListener("change", fill);
  store.views.push((changed) => {
    if (changed.has("image")) mark();
  });
  fill();
  return element(
    "div",
    { className: "examples" },
    element("p", { className: "choice" }, element("label", { for: id }, text("examples.title")), choice),
    list,
  );
}

/** The input of the network: a drawing, a test image, or a picture from a file. */

import { element, text } from "../dom.js";
import { examplesView } from "./examples.js";
import { filesView } from "./files.js";
import { padView } from "./pad.js";

/** @param {import("../store.js").Store} store */
export function inputView(store) {
  return element(
    "section",
    { className: "input", "aria-label": text("input.title") },
    element("h2", {}, text("input.title")),
    padView(store),
    examplesView(store),
    filesView(store),
  );
}

/** The colors of a map, from the lowest number to the highest. */

import { drawMap } from "../drawing.js";
import { element, number } from "../dom.js";

const SHADES = Float64Array.from({ length: 256 }, (_, shade) => shade);

/** A legend without numbers, until they are shown. */
export function scaleLegend() {
  const canvas = element("canvas", { "aria-hidden": "true" });
  drawMap(canvas, SHADES, 0, 1, SHADES.length, [0, SHADES.length - 1]);
  const [low, high] = [element("span"), element("span")];
  return {
    element: element("div", { className: "legend caption" }, low, canvas, high),
    /** @param {import("../drawing.js").Range} range */
    draw(range) {
      [low.textContent, high.textContent] = range.map((value) => number(value));
    },
  };
}

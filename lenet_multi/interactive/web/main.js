/** Builds the page: reads its data, and puts the views in their places. */

import { setColors } from "./drawing.js";
import { element, setTexts, text } from "./dom.js";
import { bytes, readPageData } from "./page_data.js";
import { setFrameworks } from "./run_facts.js";
import { Store } from "./store.js";
import { breakView } from "./views/break.js";
import { epochsView } from "./views/epochs.js";
import { kernelsView } from "./views/kernels.js";
import { inputView } from "./views/input.js";
import { layersView } from "./views/layers.js";
import { mattersView } from "./views/matters.js";
import { numberView, pointedLine } from "./views/number.js";
import { predictionView } from "./views/prediction.js";
import { sidesView } from "./views/sides.js";
import { toolsView } from "./views/tools.js";
import { tourView } from "./views/tour.js";

function start() {
  const data = JSON.parse(/** @type {HTMLElement} */ (document.getElementById("data")).textContent ?? "");
  setTexts(data.texts);
  setColors(bytes(data.colors));
  setFrameworks(data.frameworks);
  const { facts, runs } = readPageData(data);
  const store = new Store(facts, runs);
  const tools = [
    { key: "number", content: numberView(store) },
    { key: "kernels", content: kernelsView(store) },
    { key: "break", content: breakView(store) },
    { key: "matters", content: mattersView(store) },
    { key: "epochs", content: epochsView(store) },
  ];
  const page = /** @type {HTMLElement} */ (document.getElementById("page"));
  page.append(
    element("h1", {}, text("title")),
    tourView(store),
    element(
      "div",
      { className: "columns" },
      element("div", { className: "input-column" }, inputView(store), predictionView(store)),
      element("div", { className: "network-column" }, sidesView(store), layersView(store)),
      element("div", { className: "tools-column" }, toolsView(tools, pointedLine(store))),
    ),
  );
}

start();

// The script of report.html.j2: sorts and filters the table of results, and draws the curves of the runs chosen in it.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const body = byId("runs").tBodies[0];
  // Each row with its data, in the order of the plan; `line` is the number of its line in the curves, or null.
  const runs = [...body.rows].map((row, number) => ({
    ...data.runs[number],
    row,
    number,
    title: row.cells[0].textContent,
  }));
  const best = runs.map((run) => run.line);
  const mostLines = data.lines.length;
  const count = (number) => number.toLocaleString("en");

  // Sorting

  const collator = new Intl.Collator("en", { numeric: true });
  let sortedBy = { column: null, direction: 1 };

  function compareTexts(a, b) {
    const numbers = [a, b].map((text) => (text.trim() === "" ? NaN : Number(text)));
    return numbers.some(Number.isNaN) ? collator.compare(a, b) : numbers[0] - numbers[1];
  }

  /** Compares runs by their settings, one after the other: the first column. */
  function compareSettings(a, b) {
    for (const [i, setting] of data.settings.entries()) {
      const order = compareTexts(...[a, b].map((run) => setting.values[run.settings[i]]));
      if (order) return order;
    }
    return 0;
  }

  function compareValues(a, b) {
    return typeof a === "number" && typeof b === "number" ? a - b : compareTexts(String(a), String(b));
  }

  /** Unknown values come after the others, and failed runs last, whatever the direction. */
  function compareRuns(a, b) {
    const { column, direction } = sortedBy;
    if (column === null) return a.number - b.number;
    const rank = (run) => (run.values.length === 0 ? 2 : column > 0 && run.values[column - 1] === null ? 1 : 0);
    if (rank(a) || rank(b)) return rank(a) - rank(b) || a.number - b.number;
    const order = column ? compareValues(a.values[column - 1], b.values[column - 1]) : compareSettings(a, b);
    return direction * order || a.number - b.number;
  }

  /** Each header becomes a button: ascending, then descending, then the order of the plan. */
  function addSortButtons() {
    const headers = [...byId("runs").tHead.rows[0].cells];
    for (const [column, header] of headers.entries()) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        if (sortedBy.column !== column) sortedBy = { column, direction: 1 };
        else if (sortedBy.direction === 1) sortedBy = { column, direction: -1 };
        else sortedBy = { column: null, direction: 1 };
        for (const other of headers) other.removeAttribute("aria-sort");
        if (sortedBy.column !== null) {
          header.setAttribute("aria-sort", sortedBy.direction === 1 ? "ascending" : "descending");
        }
        showRows();
      });
    }
  }

  // Filtering; a page with few runs has no filters

  const filter = byId("filter");
  const selects = filter ? [...filter.closest(".tools").querySelectorAll("select")] : [];

  function matches(run) {
    const text = `${run.title} ${run.name}${run.values.length ? "" : " failed"}`.toLowerCase();
    const words = filter ? filter.value.toLowerCase().split(/\s+/) : [];
    return (
      words.every((word) => text.includes(word)) &&
      selects.every((select, i) => select.selectedIndex < 1 || run.settings[i] === select.selectedIndex - 1)
    );
  }

  const shownRuns = () => runs.filter(matches).sort(compareRuns);

  function showRows() {
    const shown = shownRuns();
    for (const run of runs) run.row.hidden = true;
    for (const run of shown) run.row.hidden = false;
    body.prepend(...shown.map((run) => run.row)); // before the hidden rows, for the stripes
    if (filter) byId("count").textContent = `${count(shown.length)} of ${count(runs.length)} runs`;
  }

  // Choosing

  function freeLine() {
    const taken = new Set(runs.map((run) => run.line));
    return data.lines.findIndex((_, number) => !taken.has(number));
  }

  /** Chosen runs that stay chosen keep their lines, and with them their colors. */
  function choose(chosen) {
    for (const run of runs) if (!chosen.includes(run)) run.line = null;
    for (const run of chosen) if (run.line === null) run.line = freeLine();
    showChoice();
  }

  function showChoice(isFull = false) {
    const chosen = runs.filter((run) => run.line !== null);
    for (const run of runs) if (run.box) run.box.checked = run.line !== null;
    const limit = isFull ? `No more than ${mostLines} runs can be drawn: their lines would look alike.` : "";
    if (filter) byId("drawn").textContent = limit || `${chosen.length} drawn, at most ${mostLines}`;
    if (!isFull) drawChosen(chosen);
  }

  function addBoxes() {
    for (const run of runs) {
      if (!run.curves) continue;
      const [cell, label, box] = [run.row.cells[0], document.createElement("label"), document.createElement("input")];
      box.type = "checkbox";
      box.checked = run.line !== null;
      box.addEventListener("change", () => {
        const line = box.checked ? freeLine() : null;
        if (line === -1) return showChoice(true);
        run.line = line;
        showChoice();
      });
      const title = document.createElement("span");
      title.append(...cell.childNodes);
      label.append(box, title);
      cell.append(label);
      run.box = box;
    }
  }

  function addChoices() {
    byId("draw-rows").addEventListener("click", () => {
      const shown = shownRuns().filter((run) => run.curves);
      choose(shown.slice(0, mostLines));
      if (shown.length > mostLines) {
        byId("drawn").textContent = `The first ${mostLines} of ${shown.length} rows are drawn`;
      }
    });
    byId("draw-best").addEventListener("click", () => {
      for (const run of runs) run.line = best[run.number];
      showChoice();
    });
    byId("draw-none").addEventListener("click", () => choose([]));
    byId("drawn").textContent = `${best.filter((line) => line !== null).length} drawn, at most ${mostLines}`;
  }

  // Drawing

  const holder = document.createElement("div");
  holder.innerHTML = "<svg></svg>";
  const SVG = holder.firstChild.namespaceURI;
  const [WIDTH, HEIGHT] = [288, 216]; // as matplotlib's panels
  const AREA = { left: 44, right: 280, top: 8, bottom: 176 };

  function svg(name, attributes, ...children) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  /** Round numbers from low to high, about `most` of them, and their texts. */
  function ticks(low, high, most) {
    const least = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(least));
    const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power > least * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    const values = Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
    const isPlain = Math.max(Math.abs(low), Math.abs(high)) < 1e5 && step >= 1e-4;
    const isWhole = (digits) => Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) < 1e-6;
    const digits = [0, 1, 2, 3, 4].find(isWhole) ?? 5;
    return values.map((value) => [value, isPlain ? value.toFixed(digits) : value.toExponential(1)]);
  }

  function range(values) {
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    if (low > high) return [0, 1];
    const margin = (high - low) * 0.05 || Math.abs(high) * 0.05 || 0.05;
    return [low - margin, high + margin];
  }

  /** The points of a run in a panel: [epoch, value, whether it ends an epoch]. */
  function pointsOf(run, panel) {
    const [epochs, values, ends] = [run.curves[0], run.curves[panel + 1], run.curves[run.curves.length - 1]];
    return epochs.map((epoch, i) => [epoch, values[i], ends[i] !== null]).filter((point) => point[1] !== null);
  }

  function drawPanel(chosen, panel) {
    const drawn = chosen.map((run) => [data.lines[run.line], pointsOf(run, panel)]);
    const points = drawn.flatMap((line) => line[1]);
    const last = points.reduce((most, point) => Math.max(most, point[0]), 0) || 1;
    const [low, high] = range(points.map((point) => point[1]));
    const x = (epoch) => +(AREA.left + ((AREA.right - AREA.left) * epoch) / (last * 1.02)).toFixed(2);
    const y = (value) => +(AREA.bottom - ((AREA.bottom - AREA.top) * (value - low)) / (high - low)).toFixed(2);
    const grid = (d) => svg("path", { d, stroke: "currentColor", "stroke-opacity": 0.2, fill: "none" });
    const text = (content, attributes) =>
      svg("text", { fill: "currentColor", "text-anchor": "middle", ...attributes }, content);
    const [middle, center] = [(AREA.left + AREA.right) / 2, (AREA.top + AREA.bottom) / 2];
    return svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "font-size": 10, "aria-hidden": true },
      ...ticks(0, last * 1.02, 6).flatMap(([value, label]) => [
        grid(`M${x(value)} ${AREA.top}V${AREA.bottom}`),
        text(label, { x: x(value), y: AREA.bottom + 13 }),
      ]),
      ...ticks(low, high, 7).flatMap(([value, label]) => [
        grid(`M${AREA.left} ${y(value)}H${AREA.right}`),
        text(label, { x: AREA.left - 5, y: y(value) + 3.5, "text-anchor": "end" }),
      ]),
      text("epoch", { x: middle, y: AREA.bottom + 28 }),
      text(data.panels[panel], { transform: `translate(10 ${center}) rotate(-90)` }),
      ...drawn.map(([line, found]) => drawLine(line, found, x, y)),
      svg("rect", {
        x: AREA.left,
        y: AREA.top,
        width: AREA.right - AREA.left,
        height: AREA.bottom - AREA.top,
        fill: "none",
        stroke: "currentColor",
        "stroke-width": 0.8,
      }),
    );
  }

  function drawLine(line, points, x, y) {
    const path = points.map(([epoch, value], i) => `${i ? "L" : "M"}${x(epoch)} ${y(value)}`).join("");
    const marks = points.filter((point) => point[2]).map(([epoch, value]) => `M${x(epoch)} ${y(value)}${line.marker}`);
    const group = svg(
      "g",
      {},
      svg("path", { d: path, fill: "none", "stroke-width": 1.5, "stroke-dasharray": line.dashes }),
      svg("path", { d: marks.join("") }),
    );
    group.style.stroke = group.style.fill = line.color;
    return group;
  }

  function legendLine(run) {
    const line = data.lines[run.line];
    const sample = svg(
      "svg",
      { width: 44, height: 10, "aria-hidden": true },
      svg("path", { d: "M1 5H43", "stroke-width": 2.5, "stroke-dasharray": line.dashes }),
      svg("path", { d: `M0 0${line.marker}`, transform: "translate(22 5) scale(1.5)" }),
    );
    sample.style.stroke = sample.style.fill = line.color;
    const item = document.createElement("li");
    item.append(sample, run.title);
    return item;
  }

  function drawChosen(chosen) {
    chosen.sort((a, b) => a.line - b.line);
    byId("legend").replaceChildren(...chosen.map(legendLine));
    const titles = chosen.map((run) => run.title).join(", ");
    const lines = titles
      ? `a line for each of ${titles}; the last values are in the table of results`
      : "no run is chosen";
    for (const [panel, figure] of [...byId("panels").children].entries()) {
      figure.replaceChildren(drawPanel(chosen, panel));
      figure.setAttribute("aria-label", `${data.panels[panel]} over the epochs, ${lines}`);
    }
  }

  addSortButtons();
  addBoxes();
  if (filter) {
    addChoices();
    for (const control of [filter, ...selects]) control.addEventListener("input", showRows);
    showRows(); // a browser may restore the filter of an earlier visit
  }
  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
})();

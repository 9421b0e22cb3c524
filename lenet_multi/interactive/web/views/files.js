/** Files of a user, chosen, pasted or dropped anywhere on the page: pictures for the input, and other runs. */

import { NO_CHANGES } from "../changes.js";
import { element, newId, text } from "../dom.js";
import { FileProblem, inMemory } from "../file_problem.js";
import { ModelError } from "../network.js";
import { readRunFile } from "../page_data.js";
import { readPictureHeader } from "../picture_file.js";
import { whyNotComparable } from "../run_match.js";
import { MOST_BYTES } from "../safetensors.js";
import { picturesView } from "./pictures.js";

/** @typedef {import("../store.js").Store} Store */

const ACCEPTED = ".png,.jpg,.jpeg,.safetensors,image/png,image/jpeg";

/** @param {Store} store */
export function filesView(store) {
  const pictures = picturesView(store);
  const [id, hintId] = [newId(), newId()];
  const problem = element("p", { className: "problem", role: "alert" });
  const done = element("p", { className: "quiet", role: "status" });
  const chosen = element("input", { type: "file", id, accept: ACCEPTED, multiple: true, "aria-describedby": hintId });
  const box = element(
    "div",
    { className: "files" },
    chosen,
    element("label", { for: id, className: "opener" }, text("files.title")),
    element("p", { className: "quiet", id: hintId }, text("files.hint")),
    problem,
    done,
    pictures.list,
  );

  let received = 0;

  /** @param {Iterable<File>} files */
  async function receive(files) {
    const number = ++received;
    const isLatest = () => number === received;
    [problem.textContent, done.textContent] = ["", ""];
    box.setAttribute("aria-busy", "true");
    const problems = [];
    let last = "";
    try {
      for (const file of [...files]) {
        done.textContent = text("files.busy", { name: file.name });
        last = "";
        const { said, refused } = await take(file, isLatest);
        if (!isLatest()) return;
        last = said;
        problems.push(refused);
      }
    } finally {
      if (isLatest()) {
        box.removeAttribute("aria-busy");
        done.textContent = last;
        problem.textContent = problems.join(" ").trim();
      }
    }
  }

  /**
   * @param {File} file
   * @param {() => boolean} isLatest whether no other file was given meanwhile
   * @returns {Promise<{said: string, refused: string}>} what was done, or why not
   */
  async function take(file, isLatest) {
    try {
      const content = await contentOf(file);
      const header = readPictureHeader(content);
      if (!header) return { said: isLatest() ? addRun(store, file.name, content) : "", refused: "" };
      const isUsed = await pictures.show(file.name, content, header, isLatest);
      return { said: isUsed ? "" : text("files.drawnMeanwhile", { name: file.name }), refused: "" };
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      return { said: "", refused: error.message };
    }
  }

  chosen.addEventListener("change", async () => {
    const files = [...chosen.files ?? []];
    chosen.value = ""; // so that the same file can be chosen again
    await receive(files);
  });
  listenForFiles(receive);
  return box;
}

/**
 * @param {File} file
 * @returns {Promise<ArrayBuffer>}
 */
async function contentOf(file) {
  if (file.size > MOST_BYTES) throw new FileProblem("files.heavy", { name: file.name, most: MOST_BYTES / 2 ** 20 });
  try {
    return await file.arrayBuffer();
  } catch {
    throw new FileProblem("files.unreadable", { name: file.name });
  }
}

/**
 * Show the run in a file as side B.
 *
 * @param {Store} store
 * @param {string} name
 * @param {ArrayBuffer} content
 * @returns {string} what was done
 */
function addRun(store, name, content) {
  const start = new TextDecoder().decode(content.slice(8, 9));
  if (!name.endsWith(".safetensors") && start !== "{") throw new FileProblem("files.unknown", { name });
  const { runs } = store.state;
  try {
    const { classes, ...run } = inMemory(name, () => readRunFile(name, content));
    const why = whyNotComparable(store.facts, run.model, classes);
    if (why) throw new FileProblem(why.key, { ...why.values, name });
    const title = newTitle(run.title, runs);
    store.update({
      runs: [...runs, { ...run, title }],
      b: { run: runs.length, epoch: null, changes: NO_CHANGES },
    });
    return text("files.added", { name: title });
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    throw new FileProblem("files.refused", { name, reason: text(error.key, error.values) });
  }
}

/**
 * A title that no other run has: files of runs often have the same name.
 *
 * @param {string} name
 * @param {import("../store.js").Run[]} runs
 */
function newTitle(name, runs) {
  let title = name;
  for (let number = 2; runs.some((run) => run.title === title); number++) title = text("files.again", { name, number });
  return title;
}

/** @param {(files: Iterable<File>) => void} receive */
function listenForFiles(receive) {
  const holdsFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  const mark = (/** @type {boolean} */ isOver) => document.body.classList.toggle("dropping", isOver);
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    mark(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) mark(false);
  });
  document.addEventListener("drop", (event) => {
    mark(false);
    if (!holdsFiles(event)) return;
    event.preventDefault();
    receive(event.dataTransfer?.files ?? []);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (!files?.length) return;
    event.preventDefault();
    receive(files);
  });
}

/** Names from files, cut to what the page can show: as `short` in Python does it, character by character. */

const LONGEST = 60; // characters of a name
const NOT_TEXT = /[^\P{Cc}\t\n]|[\p{Cs}\ufffe\uffff]/gu; // control characters, and halves of surrogate pairs
const SPACES = /[\t\n\p{Zs}\u2028\u2029]+/u;

/**
 * A name in one line, without control characters.
 *
 * @param {string} name
 * @param {number} most characters: code points, as Python counts them
 */
export function shortName(name, most = LONGEST) {
  const start = [...name.slice(0, 20 * most)].slice(0, 10 * most).join("");
  const line = [...start.replace(NOT_TEXT, "\ufffd").split(SPACES).filter(Boolean).join(" ")];
  return line.length <= most ? line.join("") : `${line.slice(0, most - 1).join("").trimEnd()}…`;
}

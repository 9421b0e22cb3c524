/** Why a file of the user cannot be used, in words of the page. */

import { text } from "./dom.js";

export class FileProblem extends Error {
  /**
   * @param {string} key of a text, which is the message
   * @param {Record<string, string | number>} values
   */
  constructor(key, values) {
    super(text(key, values));
  }
}

/**
 * Do what can take more memory, or a larger canvas, than the browser has.
 *
 * @template T
 * @param {string} name of the file
 * @param {() => T} work
 * @returns {T}
 */
export function inMemory(name, work) {
  try {
    return work();
  } catch (error) {
    const isTooLarge = error instanceof RangeError || error instanceof DOMException;
    throw isTooLarge ? new FileProblem("files.memory", { name }) : error;
  }
}

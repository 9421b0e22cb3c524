/** Results for screen readers, which hear them once a drawing rests, not at every stroke. */

const REST = 300; // milliseconds without a change

/**
 * A function that calls another one as soon as it has not been called for a while.
 *
 * @param {() => void} act
 */
export function onceRested(act) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(act, REST);
  };
}

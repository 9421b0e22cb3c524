/** Long work in slices of a few milliseconds, so that the page reacts to its reader meanwhile. */

const SLICE_LENGTH = 8; // milliseconds

/**
 * @param {number} count
 * @param {(n: number) => void} work one piece of it, for n from 0 to count - 1
 * @param {() => boolean} isWanted asked after every slice; the work is abandoned if it is not
 * @param {(done: number) => void} report called after every slice
 * @returns {Promise<boolean>} whether all of it is done
 */
export async function inSlices(count, work, isWanted, report) {
  let done = 0;
  while (done < count) {
    const end = performance.now() + SLICE_LENGTH;
    do { // at least one piece, however long it takes
      work(done);
      done += 1;
    } while (done < count && performance.now() < end);
    report(done);
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (!isWanted()) return false;
  }
  return true;
}

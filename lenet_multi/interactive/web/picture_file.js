/** PNG and JPEG files before they are decoded: their size, so that none takes all memory, and their orientation. */

/**
 * @typedef {import("./picture.js").Pixels} Pixels
 *
 * @typedef {object} PictureHeader
 * @property {"png" | "jpeg"} format
 * @property {number} height as stored
 * @property {number} width as stored
 * @property {number} orientation of its EXIF data, from 1 to 8: 1 is upright
 * @property {[number, number][]} exif starts and ends of the parts that tell it
 * @property {number} pixels where they start, at the latest
 */

export const MOST_PIXELS = 2 ** 26; // as in Python: a small file can announce any number
const PNG_START = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const MOST_EXIF = 16; // parts; more are left in the file
const ORIENTATION = 0x0112;
// Frame headers of JPEG: markers from 0xC0 to 0xCF except those of tables.
const TABLES = [0xc4, 0xc8, 0xcc];

/**
 * @param {ArrayBuffer} content of a file
 * @returns {PictureHeader | null} null if it is neither PNG nor JPEG, or has no size
 */
export function readPictureHeader(content) {
  const view = new DataView(content);
  const isPng = content.byteLength > 33 && PNG_START.every((byte, at) => view.getUint8(at) === byte);
  if (isPng) return readPng(view);
  return content.byteLength > 4 && view.getUint16(0) === 0xffd8 ? readJpeg(view) : null;
}

/**
 * @param {DataView} view
 * @returns {PictureHeader | null}
 */
function readPng(view) {
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  /** @type {PictureHeader} */
  const header = { format: "png", height, width, orientation: 1, exif: [], pixels: 8 };
  for (let at = 8; at + 12 <= view.byteLength;) {
    const end = at + 12 + view.getUint32(at);
    if (end > view.byteLength) break;
    if (nameAt(view, at + 4, 4) === "eXIf" && header.exif.length < MOST_EXIF) {
      header.orientation = orientationOf(view, at + 8, end - 4);
      header.exif.push([at, end]);
    }
    at = end;
  }
  return width && height ? header : null;
}

/**
 * @param {DataView} view
 * @returns {PictureHeader | null}
 */
function readJpeg(view) {
  /** @type {PictureHeader} */
  const header = { format: "jpeg", height: 0, width: 0, orientation: 1, exif: [], pixels: 8 };
  for (let at = 2; at + 4 <= view.byteLength;) {
    const marker = view.getUint8(at + 1);
    if (view.getUint8(at) !== 0xff || marker === 0xff) {
      at += 1; // fill bytes
      continue;
    }
    const end = at + 2 + view.getUint16(at + 2);
    header.pixels = at;
    if (marker === 0xda || end > view.byteLength) break; // the pixels follow
    if (marker >= 0xc0 && marker <= 0xcf && !TABLES.includes(marker) && end >= at + 9) {
      [header.height, header.width] = [view.getUint16(at + 5), view.getUint16(at + 7)];
    } else if (
      marker === 0xe1 && end >= at + 10 && header.exif.length < MOST_EXIF && nameAt(view, at + 4, 4) === "Exif"
    ) {
      if (!header.exif.length) header.orientation = orientationOf(view, at + 10, end);
      header.exif.push([at, end]);
    }
    at = end;
  }
  return header.width && header.height ? header : null;
}

/**
 * The orientation in EXIF data, which is a TIFF file: 1 if it has none, or is damaged.
 *
 * @param {DataView} view
 * @param {number} start
 * @param {number} end
 */
function orientationOf(view, start, end) {
  if (end - start < 14) return 1;
  const isLittle = nameAt(view, start, 2) === "II";
  const table = start + view.getUint32(start + 4, isLittle);
  if (table + 2 > end) return 1;
  const count = view.getUint16(table, isLittle);
  for (let entry = table + 2; entry < table + 2 + 12 * count && entry + 12 <= end; entry += 12) {
    if (view.getUint16(entry, isLittle) !== ORIENTATION) continue;
    const found = view.getUint16(entry + 8, isLittle);
    return found >= 1 && found <= 8 ? found : 1;
  }
  return 1;
}

/**
 * @param {DataView} view
 * @param {number} start
 * @param {number} length
 */
function nameAt(view, start, length) {
  return String.fromCharCode(...Array.from({ length }, (_, i) => view.getUint8(start + i)));
}

/**
 * Whether the file has its end; browsers show the first part of a truncated picture, and `lenet_multi.predict` refuses it.
 *
 * @param {ArrayBuffer} content
 * @param {PictureHeader} header
 */
export function isWhole(content, { format, pixels }) {
  const bytes = new Uint8Array(content, pixels); // a JPEG file can hold a small one in front of them
  const end = format === "png" ? [0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82] : [0xff, 0xd9];
  for (let at = bytes.lastIndexOf(end[0]); at > 0; at = bytes.lastIndexOf(end[0], at - 1)) {
    if (end.every((byte, i) => bytes[at + i] === byte)) return true;
  }
  return false;
}

/**
 * The file without its EXIF data, so that every browser decodes it as it is stored: browsers differ in what they rotate.
 *
 * @param {ArrayBuffer} content
 * @param {PictureHeader} header
 */
export function withoutExif(content, header) {
  const ends = [0, ...header.exif.map(([, end]) => end)];
  const starts = [...header.exif.map(([start]) => start), content.byteLength];
  return new Blob(ends.map((end, i) => new Uint8Array(content, end, starts[i] - end)), {
    type: `image/${header.format}`,
  });
}

/**
 * A picture rotated and flipped by its orientation.
 *
 * @param {Pixels} image
 * @param {number} orientation from 1 to 8
 * @returns {Pixels}
 */
export function upright(image, orientation) {
  if (orientation === 1) return image;
  const { width, height } = image;
  const isTurned = orientation >= 5;
  const isFlippedX = [2, 3, 7, 8].includes(orientation); // of the stored picture
  const isFlippedY = [3, 4, 6, 7].includes(orientation);
  const from = new Uint32Array(image.data.buffer, image.data.byteOffset, width * height);
  const to = new Uint32Array(width * height);
  const [newHeight, newWidth] = isTurned ? [width, height] : [height, width];
  for (let y = 0, at = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++, at++) {
      const [row, column] = isTurned ? [x, y] : [y, x];
      to[at] = from[(isFlippedY ? height - 1 - row : row) * width + (isFlippedX ? width - 1 - column : column)];
    }
  }
  return { data: new Uint8ClampedArray(to.buffer), width: newWidth, height: newHeight };
}

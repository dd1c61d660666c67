// SPDX-License-Identifier: Apache-2.0
//
// examples/web/glc.mjs in Node.js: the golden pictures, what is refused, and a file that Python made.
//   node check.mjs MODULE GOLDEN MODEL PIXELS WIDTH HEIGHT QUALITY FILE
// GOLDEN: the folder tests/golden/decoder/vN. PIXELS [HEIGHT, WIDTH, 3] uint8 are encoded by MODEL
// (of `glc export --encoder`) at QUALITY, to the bytes of FILE.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { GlcError, load } from '../../examples/web/glc.mjs';

const [module, golden, model, pixels, width, height, quality, expected] = process.argv.slice(2);
const read = async (...path) => new Uint8Array(await readFile(join(...path)));

function crc32c(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; ++i) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (~crc >>> 0).toString(16).padStart(8, '0');
}

function refuses(work, kind, text) {
  assert.throws(work, (error) => {
    assert(error instanceof GlcError);
    assert.equal(error.kind, kind);
    assert.match(error.message, text);
    return true;
  });
}

const glc = await load([Uint8Array.of(0, 97, 115, 109, 9, 9, 9, 9), await read(module)]);
assert.match(glc.version, /^\d+\.\d+\.\d+$/);
await assert.rejects(load([]), GlcError);

const codec = glc.codec(await read(golden, 'model.safetensors'));
const lines = (await readFile(join(golden, 'pictures.txt'), 'utf8')).trim().split('\n');
for (const line of lines) {
  const [name, w, h, crc] = line.split(' ');
  const picture = codec.decode(await read(golden, name));
  assert.deepEqual([picture.width, picture.height], [Number(w), Number(h)]);
  assert.deepEqual([picture.parts, picture.verified], [4, true]);
  assert.equal(crc32c(picture.pixels), crc, name);
}

const file = await read(golden, '1.glc');
const flipped = file.map((byte, i) => (i === file.length >> 1 ? byte ^ 4 : byte));
const cut = file.slice(0, (0.8 * file.length) | 0);
for (const bad of [flipped, cut, file.slice(0, 5), new Uint8Array(0)]) {
  refuses(() => codec.decode(bad), 'bitstream error', /\(at byte \d+\)$/);
}
assert.equal(codec.decode(flipped, { partial: true }).verified, false);
const parts = codec.decode(cut, { partial: true }).parts;
assert(parts < 4, `${parts} parts`);
assert.equal(codec.decode(file, { until: 1 }).parts, 1);
refuses(() => codec.decode(file, { maxPixels: 100 }), 'bitstream error', /pixels/);
refuses(() => codec.decode(file, { until: 5 }), 'invalid argument', /^decode: until: /);
refuses(() => codec.encode(new Uint8Array(12), 2, 2), 'bitstream error', /^model: .*got none/);
refuses(() => codec.encode(new Uint8Array(11), 2, 2), 'invalid argument', /expected 12 bytes/);
refuses(() => glc.codec(new Uint8Array(8)), 'bitstream error', /^model: /);
codec.free();

const whole = glc.codec(await read(model));
const begin = performance.now();
const rgb = await read(pixels);
const made = whole.encode(rgb, Number(width), Number(height), { quality: Number(quality) });
const middle = performance.now();
assert.deepEqual(made, await read(expected));
whole.decode(made);
const end = performance.now();
refuses(
  () => whole.encode(rgb, Number(width), Number(height), { targetBytes: 40 }),
  'invalid argument',
  /^encode: target_bytes: expected at least \d+ for this picture, got 40$/,
);
whole.free();
console.log(`${lines.length} golden pictures, ${made.length} bytes as expected; encoded in `
  + `${(middle - begin).toFixed(0)} ms, decoded in ${(end - middle).toFixed(0)} ms`);

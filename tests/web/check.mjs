// SPDX-License-Identifier: Apache-2.0
//
// examples/web/glc.mjs in Node.js: the golden files and pictures, and what is refused.
//   node check.mjs MODULE GOLDEN
// GOLDEN: the folder tests/golden/exported/vN.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { GlcError, load } from '../../examples/web/glc.mjs';

const [module, golden] = process.argv.slice(2);
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
const rgb = await read(golden, 'picture.rgb');
for (const line of lines) {
  const [name, w, h, crc, quality, tile] = line.split(' ');
  const file = await read(golden, name);
  const coded = { quality: Number(quality), tile: Number(tile) };
  assert.deepEqual(codec.encode(rgb, Number(w), Number(h), coded), file);
  const picture = codec.decode(file);
  assert.deepEqual([picture.width, picture.height], [Number(w), Number(h)]);
  assert.deepEqual([picture.parts, picture.verified], [4, true]);
  assert.equal(crc32c(picture.pixels), crc, name);
}

const file = await read(golden, '1.glc');
const calls = [
  (options) => codec.decode(file, options),
  (options) => codec.encode(rgb, 130, 200, { ...options, quality: 1.5 }),
  (options) => codec.encode(rgb, 130, 200, { ...options, tile: 64 }),
  (options) => codec.encode(rgb, 130, 200, { ...options, targetBytes: file.length }),
];
for (const call of calls) {
  const told = [];
  const expected = call({});
  assert.deepEqual(call({ progress: (done) => told.push(done) }), expected);
  assert(told.length > 10, `told ${told.length} times`);
  assert.deepEqual([told[0], told.at(-1)], [0, 1]);
  assert.deepEqual(told, told.toSorted((a, b) => a - b));
  for (const last of [0, told.length >> 1, told.length - 1]) {
    let times = 0;
    const stop = new Error('enough');
    const progress = () => {
      if (times++ === last) throw stop;
    };
    assert.throws(() => call({ progress }), (error) => error === stop);
    assert.equal(times, last + 1);
  }
  assert.deepEqual(call({}), expected);
}
let inner = 0;  // a progress function may code, and the outer call goes on telling
const outer = [];
codec.decode(file, {
  progress: (done) => {
    outer.push(done);
    if (outer.length === 3) codec.decode(file, { progress: () => ++inner });
  },
});
assert(inner > 10 && outer.at(-1) === 1);
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
for (const until of [5, -1, 2.5, NaN]) {
  refuses(() => codec.decode(file, { until }), 'invalid argument', /^decode: until: /);
}
refuses(() => codec.decode(file, { maxPixels: -1 }), 'invalid argument', /^decode: maxPixels: /);
assert.deepEqual(codec.decode(file.slice().buffer), codec.decode(file));
refuses(() => codec.encode(rgb.slice(1), 130, 200), 'invalid argument', /expected 78000 bytes/);
refuses(() => codec.encode(rgb, 130, 200, { quality: 4 }), 'invalid argument', /^encode: quality: /);
refuses(
  () => codec.encode(rgb, 130, 200, { targetBytes: 40 }),
  'invalid argument',
  /^encode: target_bytes: expected at least \d+ for this picture, got 40$/,
);
for (const targetBytes of [-1, 1000.5, NaN]) {
  refuses(() => codec.encode(rgb, 130, 200, { targetBytes }), 'invalid argument', /^encode: targetBytes: /);
}
refuses(() => codec.encode(rgb, 130, 200, { tile: -64 }), 'invalid argument', /^encode: tile: /);
refuses(() => codec.encode(rgb.slice(0, 9), 1.5, 2), 'invalid argument', /^encode: width: /);
refuses(() => glc.codec(new Uint8Array(8)), 'bitstream error', /^model: /);
codec.free();
codec.free();
refuses(() => codec.decode(file), 'invalid argument', /NULL/);
refuses(() => codec.encode(rgb, 130, 200), 'invalid argument', /NULL/);
console.log(`${lines.length} golden files and pictures`);

// SPDX-License-Identifier: Apache-2.0
//
// Loads module and model, and codes for the page, which stays responsive meanwhile.
// Takes { id, call, args }; answers { id, done }, a fraction, as often as it is told one, and then
// { id, result, seconds } or { id, error: { message } }. It reads nothing while it codes: to cancel,
// the page terminates it and starts another.
import { load } from './glc.mjs';

const MODULES = ['glc-relaxed.wasm', 'glc.wasm'];  // the first takes a new engine, and is fast

const ready = start();
ready.catch(() => {});  // each call says it

async function start() {
  const [model, module] = await Promise.all([fetched('model.safetensors'), accepted()]);
  const glc = await load([module.bytes]);
  return { codec: glc.codec(model), version: glc.version, fast: module.name === MODULES[0] };
}

/** The first module that this engine takes, or the last; those behind it stay where they are. */
async function accepted() {
  let module;
  for (const name of MODULES) {
    module = { name, bytes: await fetched(name) };
    if (WebAssembly.validate(module.bytes)) break;
  }
  return module;
}

async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (response.ok) return new Uint8Array(await response.arrayBuffer());
  throw new Error(`${name}: expected it beside this page, got ${response.status}`);
}

const calls = {
  about: ({ version, fast }) => ({ version, fast }),
  encode: ({ codec }, progress, pixels, width, height, options) =>
    codec.encode(pixels, width, height, { ...options, progress }),
  decode: ({ codec }, progress, file, options) => codec.decode(file, { ...options, progress }),
};

self.onmessage = async ({ data: { id, call, args } }) => {
  try {
    const loaded = await ready;
    const begin = performance.now();
    const progress = (done) => self.postMessage({ id, done });
    const result = calls[call](loaded, progress, ...args);
    self.postMessage({ id, result, seconds: (performance.now() - begin) / 1000 });
  } catch (error) {
    self.postMessage({ id, error: { message: error.message } });
  }
};

// SPDX-License-Identifier: Apache-2.0
//
// Loads module and model, and codes for the page, which stays responsive meanwhile.
// Takes { id, call, args }; answers { id, result } or { id, error: { kind, message } }.
import { load } from './glc.mjs';

const MODULES = ['glc-relaxed.wasm', 'glc.wasm'];  // the first takes a new engine, and is fast

const ready = start();
ready.catch(() => {});  // each call says it

async function start() {
  const [model, ...modules] = await Promise.all(['model.safetensors', ...MODULES].map(fetched));
  const glc = await load(modules);
  const fast = modules[0].byteLength > 0 && WebAssembly.validate(modules[0]);
  return { codec: glc.codec(model), version: glc.version, fast };
}

async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (response.ok) return new Uint8Array(await response.arrayBuffer());
  throw new Error(`${name}: expected it beside this page, got ${response.status}`);
}

const calls = {
  async about() {
    const { version, fast } = await ready;
    return { version, fast };
  },
  async encode(pixels, width, height, options) {
    return (await ready).codec.encode(pixels, width, height, options);
  },
  async decode(file, options) {
    return (await ready).codec.decode(file, options);
  },
};

self.onmessage = async ({ data: { id, call, args } }) => {
  try {
    const begin = performance.now();
    const result = await calls[call](...args);
    self.postMessage({ id, result, seconds: (performance.now() - begin) / 1000 });
  } catch (error) {
    self.postMessage({ id, error: { kind: error.kind ?? error.name, message: error.message } });
  }
};

// SPDX-License-Identifier: Apache-2.0
//
// The codec in JavaScript: .glc files to pixels and back, in web pages and in Node.js, the same bits
// as everywhere. Each call computes on the calling thread; a page calls it in a worker.
//
//   import { load } from './glc.mjs';
//   const glc = await load([fastModule, plainModule]);  // bytes; the first that this engine takes
//   const codec = glc.codec(model);                     // bytes that `glc export --encoder` wrote
//   const file = codec.encode(rgb, width, height, { quality: 1.5 });
//   const { pixels, ...about } = codec.decode(file);

const STATUS = ['ok', 'invalid argument', 'bitstream error', 'unsupported', 'cuda error',
  'out of memory', 'internal error', 'cancelled'];
const NOT_THERE = 52;  // WASI's ENOSYS
const MAX_PIXELS = 178_956_970;
const PARTS = 4;
const UINT32_MAX = 2 ** 32 - 1;

/** What the codec refused; `kind` is one of the classes of glc/codec_c.h. */
export class GlcError extends Error {
  constructor(status, message) {
    super(message);
    this.name = 'GlcError';
    this.kind = STATUS[status] ?? 'internal error';
  }
}

/** Instantiates the first of some modules (ArrayBuffer, Uint8Array) that the engine accepts. */
export async function load(modules) {
  const accepted = modules.find((bytes) => WebAssembly.validate(bytes));
  if (accepted === undefined) throw new GlcError(3, 'glc: this engine takes none of the modules');
  const module = await WebAssembly.compile(accepted);
  let memory = null;
  const hearing = { progress: null };  // of the call that runs
  const system = {
    ...systemCalls(() => memory),
    progress: (_user, done) => hearing.progress(done),
  };
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    imports[from][name] = system[name] ?? (() => NOT_THERE);
  }
  const { exports } = await WebAssembly.instantiate(module, imports);
  memory = exports.memory;
  exports._initialize?.();
  return new Glc(exports, hearing);
}

/** The few calls of its C library that the module makes. */
function systemCalls(memory) {
  const view = () => new DataView(memory().buffer);
  const nothing = (a, b) => {
    view().setUint32(a, 0, true);
    view().setUint32(b, 0, true);
    return 0;
  };
  return {
    environ_sizes_get: nothing,
    environ_get: () => 0,
    clock_time_get(_clock, _precision, out) {
      view().setBigUint64(out, BigInt(Math.round(performance.now() * 1e6)), true);
      return 0;
    },
    fd_write(_file, pieces, n, written) {  // the last words of a program that ends itself
      let text = '';
      let total = 0;
      for (let i = 0; i < n; ++i) {
        const at = view().getUint32(pieces + 8 * i, true);
        const size = view().getUint32(pieces + 8 * i + 4, true);
        text += new TextDecoder().decode(new Uint8Array(memory().buffer, at, size));
        total += size;
      }
      console.error(text);
      view().setUint32(written, total, true);
      return 0;
    },
    proc_exit(code) {
      throw new GlcError(6, `glc: the module ended itself with ${code}`);
    },
  };
}

/** A loaded module. */
class Glc {
  #exports;
  #hearing;

  constructor(exports, hearing) {
    this.#exports = exports;
    this.#hearing = hearing;
  }

  get version() {
    const at = this.#exports.glc_codec_version();
    return text(this.#exports.memory, at);
  }

  /**
   * A codec of a model: a file that `glc export` wrote (ArrayBuffer, Uint8Array), which it keeps;
   * with --encoder it encodes.
   */
  codec(model) {
    return new Codec(this.#exports, this.#hearing, model);
  }
}

/**
 * Encodes and decodes with one model. `free()` gives its memory back.
 *
 * Both take a `progress`: a function of the fraction of the work that is done, 0 first, never less
 * than before, 1 last. What it throws ends the call, and is thrown on.
 */
class Codec {
  #wasm;
  #hearing;
  #decoder = 0;
  #encoder = 0;
  #model;

  constructor(exports, hearing, model) {
    this.#wasm = exports;
    this.#hearing = hearing;
    this.#model = bytesOf(model);
    this.#decoder = this.#create('decoder');
  }

  free() {
    this.#wasm.glc_codec_decoder_free(this.#decoder);
    this.#wasm.glc_codec_encoder_free(this.#encoder);
    this.#decoder = this.#encoder = 0;
    this.#model = null;
  }

  /**
   * Makes the file of a picture.
   *
   * pixels: Uint8Array [height, width, 3], sRGB. quality: 0 (smallest file) to 3. targetBytes:
   * instead, the size not to exceed. tile: code squares of so many pixels independently.
   */
  encode(pixels, width, height, { quality = 2, targetBytes = 0, tile = 0, progress = null } = {}) {
    whole('encode: width', width, UINT32_MAX);
    whole('encode: height', height, UINT32_MAX);
    if (pixels.length !== 3 * width * height) {
      throw new GlcError(1, `encode: pixels: expected ${3 * width * height} bytes, got ${pixels.length}`);
    }
    if (this.#model !== null) this.#encoder ||= this.#create('encoder');
    return this.#scoped((take) => {
      const data = take(pixels.length, pixels);
      const options = take(32);  // glc_codec_encode_options
      const slot = take(4);
      const view = this.#view();
      view.setFloat64(options, quality, true);
      view.setBigUint64(options + 8, BigInt(whole('encode: targetBytes', targetBytes)), true);
      view.setUint32(options + 16, whole('encode: tile', tile, UINT32_MAX), true);
      this.#putProgress(view, options + 20, progress);
      this.#telling(progress, () => this.#wasm.glc_codec_encode(
        this.#encoder, data, width, height, options, slot));
      const file = this.#view().getUint32(slot, true);
      try {
        const size = this.#wasm.glc_codec_file_size(file);
        return this.#bytes(this.#wasm.glc_codec_file_data(file), size).slice();
      } finally {
        this.#wasm.glc_codec_file_free(file);
      }
    });
  }

  /**
   * Draws the picture of a file (ArrayBuffer, Uint8Array): { width, height, pixels: Uint8Array
   * [height, width, 3], parts, verified }.
   *
   * partial: draw what a cut or damaged file still gives. until: parts to use, 0 to 4.
   */
  decode(file, { partial = false, until = PARTS, maxPixels = MAX_PIXELS, progress = null } = {}) {
    const bytes = bytesOf(file);
    return this.#scoped((take) => {
      const data = take(bytes.length, bytes);
      const options = take(24);  // glc_codec_decode_options
      const out = take(8);
      const view = this.#view();
      view.setBigUint64(options, BigInt(whole('decode: maxPixels', maxPixels)), true);
      view.setInt32(options + 8, whole('decode: until', until, PARTS), true);
      view.setInt32(options + 12, partial ? 1 : 0, true);
      this.#putProgress(view, options + 16, progress);
      this.#check(this.#wasm.glc_codec_size(data, bytes.length, options, out, out + 4));
      const width = this.#view().getUint32(out, true);
      const height = this.#view().getUint32(out + 4, true);
      const size = 3 * width * height;
      const drawn = take(size);
      this.#telling(progress, () => this.#wasm.glc_codec_decode(
        this.#decoder, data, bytes.length, options, drawn, size, out));
      const parts = this.#view().getInt32(out, true);
      const verified = this.#view().getInt32(out + 4, true) === 1;
      return { width, height, pixels: this.#bytes(drawn, size).slice(), parts, verified };
    });
  }

  #create(kind) {
    return this.#scoped((take) => {
      const model = take(this.#model.length, this.#model);
      const slot = take(4);
      this.#check(this.#wasm[`glc_codec_${kind}_create`](model, this.#model.length, slot));
      return this.#view().getUint32(slot, true);
    });
  }

  /** Runs work(take), and frees what it took of the module's memory. */
  #scoped(work) {
    const taken = [];
    const take = (size, content = null) => {
      const at = size < 2 ** 32 ? this.#wasm.malloc(Math.max(1, size)) : 0;
      if (at === 0) throw new GlcError(5, `glc: out of memory for ${size} bytes`);
      taken.push(at >>> 0);
      if (content !== null) this.#bytes(at >>> 0, size).set(content);
      return at >>> 0;
    };
    try {
      return work(take);
    } finally {
      for (const at of taken) this.#wasm.free(at);
    }
  }

  /** Of options: the one function that progress is told through, or NULL; and NULL for its user. */
  #putProgress(view, at, progress) {
    const pointer = progress === null ? 0 : this.#wasm.glc_web_progress_pointer();
    view.setBigUint64(at, BigInt(pointer), true);
  }

  /** Makes a call whose options have that function. */
  #telling(progress, call) {
    const before = this.#hearing.progress;  // of a call whose progress function makes this one
    let thrown = null;
    this.#hearing.progress = (done) => {
      try {
        progress(done);
        return 0;
      } catch (error) {  // which would leave behind what the module holds
        thrown = { error };
        return 1;
      }
    };
    try {
      const status = call();
      if (thrown !== null) throw thrown.error;
      this.#check(status);
    } finally {
      this.#hearing.progress = before;
    }
  }

  #check(status) {
    if (status === 0) return;
    throw new GlcError(status, text(this.#wasm.memory, this.#wasm.glc_codec_last_error()));
  }

  // anew each time: memory that grows is another buffer
  #view() {
    return new DataView(this.#wasm.memory.buffer);
  }

  #bytes(at, size) {
    return new Uint8Array(this.#wasm.memory.buffer, at >>> 0, size);
  }
}

function bytesOf(data) {
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** The value, where it is a whole number; DataView would cut and wrap others. */
function whole(name, value, most = Number.MAX_SAFE_INTEGER) {
  if (Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw new GlcError(1, `${name}: expected a whole number from 0 to ${most}, got ${value}`);
}

function text(memory, at) {
  const bytes = new Uint8Array(memory.buffer, at >>> 0);
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
}

// SPDX-License-Identifier: Apache-2.0
//
// The page: takes a picture or a file, has it coded in a worker, and shows what came of it.

const LONGEST_SIDE = 1536;

const element = (id) => document.getElementById(id);
const waiting = new Map();
let calls = 0;
let lost = null;  // why the worker answers no more
let turns = 0;  // of the picture that is shown; what is late for it is dropped
let reading = false;  // the next picture, which takes the controls as they are then
let coding = Promise.resolve();  // until the worker is through with what it was asked
let source = null;  // { name, original: ImageData } or { name, file: Uint8Array }
let shown = null;  // { name, file, drawn: ImageData }
let worker = started();

function started() {
  const made = new Worker(new URL('worker.mjs', import.meta.url), { type: 'module' });
  made.onmessage = ({ data: { id, done, result, seconds, error } }) => {
    if (!waiting.has(id)) return;  // of a worker that was ended
    if (done !== undefined) {
      element('bar').value = done;
      return;
    }
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error.message));
    else resolve({ result, seconds });
  };
  made.onerror = (event) => {
    lost = new Error(event.message || 'the worker could not be started');
    end(lost);
  };
  return made;
}

/** Ends the worker, and what it was asked for with an error. */
function end(error) {
  worker.terminate();
  for (const { reject } of waiting.values()) reject(error);
  waiting.clear();
}

/** Drops the picture that is being coded, and one that is read meanwhile. A worker that codes hears
 * nothing, so the next picture finds another. */
function cancel() {
  ++turns;
  reading = false;
  end(new Error('cancelled'));
  worker = started();
  say('Cancelled.');
  element('drop').focus();
}

function ask(call, ...args) {
  return new Promise((resolve, reject) => {
    if (lost) throw lost;
    element('bar').value = 0;
    waiting.set(++calls, { resolve, reject });
    worker.postMessage({ id: calls, call, args });
  });
}

function say(text, isError = false) {
  element('status').textContent = text;
  element('status').classList.toggle('error', isError);
}

/** RGB of an ImageData, whose alpha is 255 everywhere. */
function withoutAlpha({ data, width, height }) {
  const rgb = new Uint8Array(3 * width * height);
  for (let i = 0, j = 0; j < rgb.length; i += 4, j += 3) {
    rgb[j] = data[i];
    rgb[j + 1] = data[i + 1];
    rgb[j + 2] = data[i + 2];
  }
  return rgb;
}

function withAlpha({ pixels, width, height }) {
  const image = new ImageData(width, height);
  for (let i = 0, j = 0; j < pixels.length; i += 4, j += 3) {
    image.data[i] = pixels[j];
    image.data[i + 1] = pixels[j + 1];
    image.data[i + 2] = pixels[j + 2];
    image.data[i + 3] = 255;
  }
  return image;
}

/** Decibels of the mean squared error over all samples. */
function psnr(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 4) {
    for (let c = i; c < i + 3; ++c) sum += (a[c] - b[c]) ** 2;
  }
  return 10 * Math.log10(255 ** 2 / (sum / (0.75 * a.length)));
}

async function opened(file) {
  const picture = await createImageBitmap(file);  // upright, as its metadata says
  const longest = Math.max(picture.width, picture.height);
  const scale = element('shrink').checked ? Math.min(1, LONGEST_SIDE / longest) : 1;
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = '#fff';  // transparency is laid over white, as glc encode does
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

async function take(file) {
  const turn = ++turns;
  reading = true;
  say(`Reading ${file.name} ...`);
  try {
    const head = new Uint8Array(await file.slice(0, 3).arrayBuffer());
    const isGlc = String.fromCharCode(...head) === 'GLC';
    const name = file.name.replace(/(.)\.[^.]*$/, '$1');
    const taken = isGlc
      ? { name, file: new Uint8Array(await file.arrayBuffer()) }
      : { name, from: file, original: await opened(file) };
    if (turn !== turns) return;
    reading = false;
    source = taken;
    code();
  } catch (error) {
    if (turn !== turns) return;
    reading = false;
    say(`${file.name}: ${error.message}`, true);
  }
}

/** Codes the source anew, once the worker is free; only the last that is waiting is coded. */
function code() {
  const turn = ++turns;
  coding = coding.then(() => codeAndShow(turn));
}

async function codeAndShow(turn) {
  if (turn !== turns) return;
  const { name, original } = source;
  const facts = [];
  let file = source.file;
  element('work').hidden = false;
  try {
    if (original) {
      say(`Encoding ${name} ...`);
      const quality = Number(element('quality').value);
      const { width, height } = original;
      const coded = await ask('encode', withoutAlpha(original), width, height, { quality });
      if (turn !== turns) return;
      file = coded.result;
      facts.push(['encoded in', `${coded.seconds.toFixed(2)} s`]);
    }
    say(`Decoding ${name} ...`);
    const { result, seconds } = await ask('decode', file, { partial: !original });
    if (turn !== turns) return;
    facts.push(['decoded in', `${seconds.toFixed(2)} s`]);
    show({ name, file, drawn: withAlpha(result), original, result, facts });
    say(result.verified ? '' : `Unverified: ${result.parts} of 4 parts of this file are whole.`);
  } catch (error) {
    if (turn === turns) say(`${name}: ${error.message}`, true);
  } finally {
    element('work').hidden = true;
  }
}

function show({ name, file, drawn, original, result, facts }) {
  shown = { name, file, drawn };
  paint('after', drawn);
  if (original) paint('before', original);
  for (const id of ['before', 'wipe', 'edge', 'left']) element(id).hidden = !original;
  const bits = (8 * file.length) / (result.width * result.height);
  const rows = [
    ['file', `${file.length.toLocaleString()} bytes, ${bits.toFixed(4)} bits per pixel`],
    ['picture', `${result.width} x ${result.height}`],
    ...facts,
  ];
  if (original) rows.push(['PSNR', `${psnr(original.data, drawn.data).toFixed(2)} dB`]);
  element('facts').replaceChildren(...rows.flatMap(([term, value]) => {
    const pair = [document.createElement('dt'), document.createElement('dd')];
    pair[0].textContent = term;
    pair[1].textContent = value;
    return pair;
  }));
  element('result').hidden = false;
  element('save').disabled = element('png').disabled = false;
}

function paint(id, image) {
  const canvas = element(id);
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext('2d').putImageData(image, 0, 0);
}

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const drop = element('drop');
drop.addEventListener('click', () => element('file').click());
drop.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' && event.key !== ' ') return;
  event.preventDefault();
  element('file').click();
});
element('file').addEventListener('click', (event) => event.stopPropagation());
element('file').addEventListener('change', (event) => {
  if (event.target.files.length) take(event.target.files[0]);
  event.target.value = '';  // so that the same one can be chosen again
});
for (const name of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle('over', name === 'dragover');
    if (name === 'drop' && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}
document.addEventListener('paste', (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files[0]);
});
element('options').addEventListener('submit', (event) => event.preventDefault());
element('quality').addEventListener('input', (event) => {
  element('shown').value = event.target.value;
});
element('quality').addEventListener('change', () => {
  if (source?.original && !reading) code();
});
element('shrink').addEventListener('change', () => {
  if (source?.from && !reading) take(source.from);
});
element('wipe').addEventListener('input', (event) => {
  element('stage').style.setProperty('--cut', `${event.target.value}%`);
});
element('cancel').addEventListener('click', cancel);
element('save').addEventListener('click', () => save(new Blob([shown.file]), `${shown.name}.glc`));
element('png').addEventListener('click', () => {
  const { name } = shown;
  element('after').toBlob((blob) => {
    if (blob) save(blob, `${name}.png`);
    else say(`${name}: the picture is too large for a PNG here`, true);
  }, 'image/png');
});

try {
  const { result } = await ask('about');
  if (turns === 0) {
    const slow = result.fast ? '' : ' Without relaxed vectors a photograph takes some ten seconds.';
    say(`glc ${result.version} is ready.${slow}`);
  }
} catch (error) {
  if (turns === 0) say(`The model could not be loaded: ${error.message}`, true);
}

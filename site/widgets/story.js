/* A small GPT that runs in this page and goes on with what one types. Nothing leaves the page.

   Options of the place: data-model, the file of data that holds the model ("story" where it is silent);
   data-prompt, the text at the start. The data are what lessons/engine/page_model.py makes of a model of
   lesson 05: tensors with one byte per weight and one scale per row, and a byte-pair tokenizer.
   For tests the place carries data-state (waiting, loading, writing, done, stopped, failed), data-tokens
   and data-speed, and a property `story` with {model, tokenizer, load, run}. */
"use strict";

(() => {
  const LONGEST = 400; // new tokens; most stories end sooner
  const PATIENCE = 500; // milliseconds after the last key before it writes
  const AT_ONCE = 12; // milliseconds of arithmetic before the page gets a turn

  /* The arithmetic. Vectors are 64-bit floats, which JavaScript reckons in anyway. */

  /** out = weight @ x + bias; weight: {rows, columns, values, scales}, scales only where values are bytes. */
  function multiply({ rows, columns, values, scales }, x, out, bias) {
    const whole = columns - (columns % 4);
    for (let row = 0, at = 0; row < rows; row++) {
      let a = 0, b = 0, c = 0, d = 0; // four sums that need not wait for each other
      let i = 0;
      for (; i < whole; i += 4, at += 4) {
        a += values[at] * x[i];
        b += values[at + 1] * x[i + 1];
        c += values[at + 2] * x[i + 2];
        d += values[at + 3] * x[i + 3];
      }
      for (; i < columns; i++, at++) a += values[at] * x[i];
      const sum = (a + b + (c + d)) * (scales ? scales[row] : 1);
      out[row] = bias ? sum + bias[row] : sum;
    }
  }

  /** out += one row of a table. */
  function addRow({ columns, values, scales }, row, out) {
    const scale = scales ? scales[row] : 1;
    for (let i = 0, at = row * columns; i < columns; i++, at++) out[i] += values[at] * scale;
  }

  function add(x, out) {
    for (let i = 0; i < x.length; i++) out[i] += x[i];
  }

  /** Lesson 04's LayerNorm. */
  function norm(x, { weight, bias }, epsilon, out) {
    let mean = 0, variance = 0;
    for (const number of x) mean += number / x.length;
    for (const number of x) variance += (number - mean) ** 2 / x.length;
    const scale = 1 / Math.sqrt(variance + epsilon);
    for (let i = 0; i < x.length; i++) out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
  }

  function gelu(x) {
    for (let i = 0; i < x.length; i++) {
      const inside = Math.sqrt(2 / Math.PI) * (x[i] + 0.044715 * x[i] ** 3);
      x[i] *= 0.5 * (1 + Math.tanh(inside));
    }
  }

  /** In place, over the first `length` numbers. */
  function softmax(scores, length) {
    let highest = -Infinity, sum = 0;
    for (let i = 0; i < length; i++) highest = Math.max(highest, scores[i]);
    for (let i = 0; i < length; i++) sum += scores[i] = Math.exp(scores[i] - highest);
    for (let i = 0; i < length; i++) scores[i] /= sum;
  }

  /* The model. */

  /** The bytes behind pieces of base64, which the page may interrupt: a generator that returns them. */
  function* decode(pieces, size) {
    const bytes = new Uint8Array(size);
    let at = 0;
    for (const piece of pieces) {
      const text = atob(piece);
      for (let i = 0; i < text.length; i++) bytes[at++] = text.charCodeAt(i);
      yield;
    }
    if (at !== size) throw new Error("the model's file is damaged");
    return bytes.buffer;
  }

  /** Name -> a list of floats, or {rows, columns, values, scales}. */
  function readTensors(described, buffer) {
    const tensors = {};
    let at = 0;
    const floats = (count) => new Float32Array(buffer, (at += 4 * count) - 4 * count, count);
    for (const [name, rows, columns] of described) {
      if (columns === undefined) {
        tensors[name] = floats(rows);
      } else {
        const scales = floats(rows);
        const values = new Int8Array(buffer, at, rows * columns);
        at += 4 * Math.ceil((rows * columns) / 4); // floats begin at multiples of four
        tensors[name] = { rows, columns, values, scales };
      }
    }
    return tensors;
  }

  /** Lesson 05's GPT with lesson 09's cache, one token at a time. */
  class Model {
    constructor(config, tensors) {
      const { n_layer, n_head, n_embd, n_inner, block_size, vocab_size } = config;
      const norm = (name) => ({ weight: tensors[`${name}.weight`], bias: tensors[`${name}.bias`] });
      this.config = config;
      this.headSize = Math.floor(n_embd / n_head);
      this.width = n_head * this.headSize; // less than n_embd where the heads do not divide it
      this.tokens = tensors["transformer.wte.weight"];
      this.places = tensors["transformer.wpe.weight"];
      this.head = tensors["lm_head.weight"] ?? this.tokens;
      this.last = norm("transformer.ln_f");
      this.layers = [...Array(n_layer).keys()].map((layer) => {
        const at = `transformer.h.${layer}`;
        return {
          ln_1: norm(`${at}.ln_1`), c_attn: norm(`${at}.attn.c_attn`), attn_proj: norm(`${at}.attn.c_proj`),
          ln_2: norm(`${at}.ln_2`), c_fc: norm(`${at}.mlp.c_fc`), mlp_proj: norm(`${at}.mlp.c_proj`),
          keys: new Float32Array(block_size * this.width), values: new Float32Array(block_size * this.width),
        };
      });
      const vector = (size) => new Float64Array(size);
      this.stream = vector(n_embd);
      this.normed = vector(n_embd);
      this.change = vector(n_embd);
      this.qkv = vector(3 * this.width);
      this.mixed = vector(this.width);
      this.inner = vector(n_inner);
      this.scores = vector(block_size);
      this.logits = vector(vocab_size);
      this.known = []; // the ids whose keys and values are kept
    }

    /** Read one more token; the page may interrupt between layers. */
    *read(id) {
      const { layers, stream, normed, change, config: { layer_norm_epsilon: epsilon } } = this;
      stream.fill(0);
      addRow(this.tokens, id, stream);
      addRow(this.places, this.known.length, stream);
      for (const layer of layers) {
        norm(stream, layer.ln_1, epsilon, normed);
        multiply(layer.c_attn.weight, normed, this.qkv, layer.c_attn.bias);
        this.attend(layer, this.known.length);
        multiply(layer.attn_proj.weight, this.mixed, change, layer.attn_proj.bias);
        add(change, stream);
        norm(stream, layer.ln_2, epsilon, normed);
        multiply(layer.c_fc.weight, normed, this.inner, layer.c_fc.bias);
        gelu(this.inner);
        multiply(layer.mlp_proj.weight, this.inner, change, layer.mlp_proj.bias);
        add(change, stream);
        yield;
      }
      this.known.push(id);
    }

    /** Keep the newest key and value, then mix the values of all places, head by head. */
    attend({ keys, values }, place) {
      const { qkv, mixed, scores, width, headSize } = this;
      keys.set(qkv.subarray(width, 2 * width), place * width);
      values.set(qkv.subarray(2 * width), place * width);
      mixed.fill(0);
      for (let first = 0; first < width; first += headSize) {
        for (let past = 0; past <= place; past++) {
          let sum = 0;
          for (let i = first, at = past * width + first; i < first + headSize; i++, at++) sum += qkv[i] * keys[at];
          scores[past] = sum / Math.sqrt(headSize);
        }
        softmax(scores, place + 1);
        for (let past = 0; past <= place; past++) {
          for (let i = first, at = past * width + first; i < first + headSize; i++, at++) mixed[i] += scores[past] * values[at];
        }
      }
    }

    /** Which token of a text of that length is the first that the model sees.

        Beyond block_size the older half of the window is forgotten at once: with a window that moves by
        one, everything in the cache would be at another place, and worthless, for every new token. */
    windowStart(length) {
      const { block_size } = this.config;
      const half = Math.max(1, Math.floor(block_size / 2));
      return half * Math.max(0, Math.ceil((length - block_size) / half));
    }

    /** The logits after a text of at least one token; what the cache knows already is not read again. */
    *next(ids) {
      const seen = ids.slice(this.windowStart(ids.length));
      let same = 0;
      while (same < this.known.length && same < seen.length - 1 && this.known[same] === seen[same]) same++;
      this.known.length = same;
      for (const id of seen.slice(same)) yield* this.read(id);
      norm(this.stream, this.last, this.config.layer_norm_epsilon, this.normed);
      multiply(this.head, this.normed, this.logits);
      return this.logits;
    }
  }

  /* The tokenizer: lesson 01's, with GPT-2's pattern. */

  class Tokenizer {
    constructor({ bytes, merges, special, endOfText, letters, numbers, spaces }) {
      this.endOfText = endOfText;
      this.idOfByte = new Map(bytes.map((byte, id) => [byte, id]));
      this.bytesOf = bytes.map((byte) => [byte]);
      this.merged = new Map(); // left id * 2^20 + right id -> the id of both together
      for (let i = 0; i < merges.length; i += 2) {
        this.merged.set(merges[i] * 2 ** 20 + merges[i + 1], this.bytesOf.length);
        this.bytesOf.push([...this.bytesOf[merges[i]], ...this.bytesOf[merges[i + 1]]]);
      }
      for (const [text, id] of Object.entries(special)) this.bytesOf[id] = [...new TextEncoder().encode(text)];
      // Ranges instead of \p{L}, \p{N} and \s: every browser knows those of its own year.
      const set = (ranges) => ranges.replace(/([0-9a-f]+)/g, "\\u{$1}").replaceAll(" ", "");
      const [L, N, S] = [set(letters), set(numbers), set(spaces)];
      this.pattern = new RegExp(
        `'(?:[sdmt]|ll|ve|re)| ?[${L}]+| ?[${N}]+| ?[^${S}${L}${N}]+|[${S}]+(?![^${S}])|[${S}]+`, "gu");
      this.pieces = new Map(); // what encodePiece found: words come again and again
    }

    encode(text) {
      return (text.match(this.pattern) ?? []).flatMap((piece) => {
        if (!this.pieces.has(piece)) this.pieces.set(piece, this.encodePiece(piece));
        return this.pieces.get(piece);
      });
    }

    encodePiece(piece) {
      const ids = [...new TextEncoder().encode(piece)].map((byte) => this.idOfByte.get(byte));
      for (;;) {
        let lowest = Infinity, at = -1;
        for (let i = 0; i + 1 < ids.length; i++) {
          const id = this.merged.get(ids[i] * 2 ** 20 + ids[i + 1]) ?? Infinity;
          if (id < lowest) [lowest, at] = [id, i];
        }
        if (at < 0) return ids;
        ids.splice(at, 2, lowest);
      }
    }

    bytes(ids) { return Uint8Array.from(ids.flatMap((id) => this.bytesOf[id] ?? [])); }
  }

  /* Choosing a token: lesson 08's temperature and top-k. */

  /** Numbers in [0, 1) that follow from a seed (mulberry32). */
  function chance(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /** The ids of the k largest logits, the largest first, of equal ones the lowest id. */
  function highest(logits, k) {
    const best = [];
    for (let id = 0; id < logits.length; id++) {
      if (best.length === k && logits[id] <= logits[best[k - 1]]) continue;
      let at = best.length;
      while (at > 0 && logits[id] > logits[best[at - 1]]) at--;
      best.splice(at, 0, id);
      if (best.length > k) best.pop();
    }
    return best;
  }

  /** An id, drawn among the topK most likely; with temperature 0 the most likely. */
  function choose(logits, temperature, topK, random) {
    const best = highest(logits, temperature === 0 ? 1 : topK);
    const chances = best.map((id) => Math.exp((logits[id] - logits[best[0]]) / (temperature || 1)));
    let left = random() * chances.reduce((a, b) => a + b, 0);
    return best[Math.max(0, chances.findIndex((part) => (left -= part) < 0))];
  }

  /* Arithmetic in small portions: the page stays awake, without a worker (which file:// may refuse). */

  const channel = new MessageChannel();
  let wake = null;
  channel.port1.onmessage = () => { wake?.(); };
  const turn = () => new Promise((resolve) => { wake = resolve; channel.port2.postMessage(0); });

  let began = 0; // of the portion, which may hold several tokens

  /** Run a generator to its end and return its result; false as soon as `wanted()` is false. */
  async function run(generator, wanted = () => true) {
    for (;;) {
      const { done, value } = generator.next();
      if (done) return value;
      if (performance.now() - began > AT_ONCE) {
        await turn();
        if (!wanted()) return false;
        began = performance.now();
      }
    }
  }

  async function load(data) {
    const buffer = await run(decode(data.weights, data.size));
    return { model: new Model(data.config, readTensors(data.tensors, buffer)), tokenizer: new Tokenizer(data.tokenizer) };
  }

  /* The widget. */

  course.widget("story", (place) => {
    const { make } = course;
    const file = place.dataset.model ?? "story";
    let loading = null; // promise of {model, tokenizer}
    let writing = 0; // number of the story that is being written; another number ends it
    let soon = 0;

    const prompt = course.field("Begin a story", { rows: 2, value: place.dataset.prompt ?? "Once upon a time", change: later });
    const temperature = course.slider("Temperature", { min: 0, max: 1.5, step: 0.1, value: 0.7, show: (t) => (t === 0 ? "0: always the likeliest" : t.toFixed(1)), change: later });
    const topK = course.slider("Top-k", { min: 1, max: 100, step: 1, value: 40, change: later });
    const seed = course.field("Seed", { type: "number", value: "1", min: 0, max: 4294967295, step: 1, inputmode: "numeric", change: later });
    const go = course.button("Write", () => write());
    const halt = course.button("Stop", () => stop());
    const again = course.button("Again, another one", () => { seed.input.value = (Number(seed.value()) + 1) % 2 ** 32; write(); });
    const told = make("span", { class: "story-prompt" });
    const news = make("span", { class: "story-new" });
    const spoken = make("p", { class: "unseen", "aria-live": "polite" }); // whole sentences, for listeners
    const status = make("p", { class: "note", role: "status" }, "The model is loaded when you press Write or type: ");
    status.append(place.dataset.weight ?? "about 6 MB", ".");
    place.append(prompt.row, temperature.row, topK.row, seed.row, make("div", {}, go, again, halt),
      make("p", { class: "story-told", tabindex: "0", role: "group", "aria-label": "The story" }, told, news), spoken, status);
    halt.disabled = true;
    place.dataset.state = "waiting";
    place.story = { load: ready, run };

    function say(state, text) {
      place.dataset.state = state;
      status.textContent = text;
      halt.disabled = state !== "writing";
    }

    /** The model and its tokenizer, loaded once. */
    function ready() {
      loading ??= course.data(file).then(load).then((found) => Object.assign(place.story, found));
      loading.catch(() => { loading = null; });
      return loading;
    }

    function later() {
      stop();
      clearTimeout(soon);
      soon = setTimeout(write, PATIENCE);
    }

    function stop() {
      clearTimeout(soon);
      writing++;
      if (place.dataset.state === "writing") say("stopped", `Stopped. ${place.dataset.summary ?? ""}`);
    }

    async function write() {
      stop();
      const mine = writing;
      const wanted = () => mine === writing;
      delete place.dataset.summary;
      try {
        if (!place.story.model) {
          say("loading", "The model is being loaded.");
          await turn();
          await ready();
          if (!wanted()) return;
        }
        say("writing", "Writing.");
        await tell(wanted);
      } catch (error) {
        say("failed", `The model cannot write: ${error.message}.`);
        console.error(error);
      }
    }

    async function tell(wanted) {
      const { model, tokenizer } = place.story;
      const end = tokenizer.endOfText;
      // A word's token begins with its space, so a space at the end would leave only odd ways to go on.
      const beginning = prompt.value().replace(/ +$/, "");
      const ids = tokenizer.encode(beginning);
      const own = ids.length === 0 ? [end] : ids; // a story begins behind the end of another one
      const random = chance(Number(seed.value()) || 0);
      const utf8 = new TextDecoder("utf-8", { ignoreBOM: true }); // keeps the bytes of half a character until it is whole
      let sentence = "", count = 0, ended = false;
      told.textContent = beginning;
      news.textContent = "";
      spoken.textContent = "";
      const show = (text) => {
        sentence += text;
        if (!course.still()) news.append(text);
        if (sentence && (/[.!?]["”’']?\s*$/.test(sentence) || ended)) {
          if (course.still()) news.append(sentence);
          spoken.textContent = sentence;
          sentence = "";
        }
      };
      let began = null; // the first token waits for the whole prompt, so it is not timed
      while (count < LONGEST && !ended) {
        const logits = await run(model.next(own), wanted);
        if (!wanted() || !logits) return;
        const id = choose(logits, temperature.value(), topK.value(), random);
        ended = id === end;
        if (!ended) { own.push(id); count++; }
        show(utf8.decode(ended ? new Uint8Array() : tokenizer.bytes([id]), { stream: !ended }));
        began ??= performance.now();
        const speed = (1000 * Math.max(0, count - 1)) / Math.max(1, performance.now() - began);
        place.dataset.tokens = count;
        place.dataset.speed = speed.toFixed(1);
        place.dataset.summary = `${count} tokens, ${speed.toFixed(0)} tokens per second.`;
      }
      ended = true; // at LONGEST the last sentence is cut off, and is said all the same
      show("");
      say("done", `${count < LONGEST ? "The end" : `${LONGEST} tokens are enough`}: ${place.dataset.summary}`);
    }
  });
})();

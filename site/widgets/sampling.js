/* The sampling playground of lesson 08: real logits, reshaped as the settings say, and drawn from.

   The chain is lesson 08's `sample`: repetition penalty, temperature, top-k, top-p, min-p. As there, all
   numbers are rounded to 32 bits after each step (Math.fround, Float32Array), so that what ties there
   ties here. data/sampling.js holds the logits of every token, as 32-bit floats in base64.
   Option: data-prompt. */
"use strict";

course.widget("sampling", async (place) => {
  const { make, visible } = course;
  const { tokens, prompts } = await course.data("sampling");
  const V = tokens.length, f32 = Math.fround;
  const SHOWN = 12; // tokens with the largest probabilities, before and after

  // The chain, from logits to logits; a refused token has -Infinity. No function changes its input.

  function softmax(logits) {
    const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const result = logits.map((x) => Math.exp(f32(x - largest)));
    const sum = f32(result.reduce((a, b) => a + b, 0));
    return result.map((x) => x / sum);
  }

  function penalise(logits, ids, penalty) {
    const result = logits.slice();
    for (const id of ids) result[id] = logits[id] < 0 ? logits[id] * f32(penalty) : logits[id] / f32(penalty);
    return result;
  }

  const scale = (logits, temperature) => logits.map((x) => x / f32(temperature));

  function topK(logits, k) {
    const bar = logits.slice().sort().at(-Math.min(k, V)); // a Float32Array sorts by value, rising
    return logits.map((x) => (x < bar ? -Infinity : x));
  }

  function topP(logits, p) {
    if (p === 1) return logits;
    const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b); // equals: lower id first
    const probabilities = softmax(logits), result = logits.slice();
    let sum = 0;
    for (const id of order) {
      sum += probabilities[id];
      if (f32(f32(sum) - probabilities[id]) >= f32(p)) result[id] = -Infinity;
    }
    return result;
  }

  function minP(logits, p) {
    const probabilities = softmax(logits);
    const bar = f32(f32(p) * probabilities.reduce((a, b) => Math.max(a, b), 0));
    return logits.map((x, id) => (probabilities[id] < bar ? -Infinity : x));
  }

  /** What temperature 0 means: only the largest, among equals the first. */
  function greedy(logits) {
    const best = logits.indexOf(logits.reduce((a, b) => Math.max(a, b), -Infinity));
    return logits.map((_, id) => (id === best ? 0 : -Infinity));
  }

  const left = (logits) => logits.reduce((n, x) => n + (x > -Infinity), 0);

  /** The whole chain: final probabilities, and how many tokens were left after each part. */
  function reshape(logits, ids) {
    const parts = [];
    if (now.penalty !== 1) { logits = penalise(logits, ids, now.penalty); parts.push(["penalty", logits]); }
    if (now.temperature === 0) {
      logits = greedy(logits);
      parts.push(["greedy choice", logits]);
    } else {
      if (now.temperature !== 1) { logits = scale(logits, now.temperature); parts.push(["temperature", logits]); }
      if (now.k !== null) { logits = topK(logits, now.k); parts.push(["top-k", logits]); }
      if (now.p !== null) { logits = topP(logits, now.p); parts.push(["top-p", logits]); }
      if (now.minP > 0) { logits = minP(logits, now.minP); parts.push(["min-p", logits]); }
    }
    return { probabilities: softmax(logits), logits, parts: parts.map(([name, after]) => [name, left(after)]) };
  }

  /** Numbers from 0 to 1, the same for the same seed (the generator is known as mulberry32). */
  function chances(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  // Settings and controls.

  const now = { prompt: Number(place.dataset.prompt ?? 0), temperature: 1, k: null, p: null, minP: 0, penalty: 1, seed: 1 };
  // the slider of k goes over these and ends with "off"; every small k matters, not every large one
  const ks = [...[...Array(20).keys()].map((k) => k + 1), 25, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 1000, 2000].filter((k) => k < V);
  const set = (name, value) => { now[name] = value; show(); };

  const whichPrompt = course.choice("Text so far", prompts.map(({ text }, i) => [i, text]), (i) => { now.prompt = Number(i); show(); }, now.prompt);
  const two = (x) => x.toFixed(2);
  const penalty = course.slider("Repetition penalty", { min: 0.5, max: 2, step: 0.05, value: 1, show: (x) => (x === 1 ? "1 (off)" : two(x)), change: (x) => set("penalty", x) });
  const temperature = course.slider("Temperature", { min: 0, max: 2, step: 0.01, value: 1, show: (t) => (t === 0 ? "0 (greedy)" : two(t)), change: (t) => set("temperature", t) });
  const k = course.slider("Top-k", { min: 0, max: ks.length, step: 1, value: ks.length, show: (i) => (i === ks.length ? "off" : String(ks[i])), change: (i) => set("k", ks[i] ?? null) });
  const p = course.slider("Top-p", { min: 0.001, max: 1, step: 0.001, value: 1, show: (x) => (x === 1 ? "1 (off)" : x.toFixed(3)), change: (x) => set("p", x === 1 ? null : x) });
  const minimum = course.slider("Min-p", { min: 0, max: 1, step: 0.01, value: 0, show: (x) => (x === 0 ? "0 (off)" : two(x)), change: (x) => set("minP", x) });
  const controls = { penalty, temperature, "top-k": k, "top-p": p, "min-p": minimum };
  for (const [name, { input }] of Object.entries(controls)) input.dataset.setting = name;

  function reset() {
    Object.assign(now, { temperature: 1, k: null, p: null, minP: 0, penalty: 1 });
    penalty.set(1); temperature.set(1); k.set(ks.length); p.set(1); minimum.set(0);
    show();
  }

  const story = make("p", { class: "sampling-story", "aria-live": "polite" });
  const body = make("tbody");
  const heads = ["token", "before", "after", "drawn", "expected"].map((name) => make("th", { scope: "col" }, name));
  const table = make("table", { class: "sampling-table" },
    make("caption", {}, "What may come next"), make("thead", {}, make("tr", {}, ...heads)), body);
  const seed = course.field("Seed", { type: "number", value: "1", min: "0", step: "1", change: (x) => { now.seed = Number(x) || 0; forget(); } });
  const counted = make("p", { class: "sampling-counted", "aria-live": "polite" });
  place.append(
    whichPrompt.row, penalty.row, temperature.row, k.row, p.row, minimum.row,
    make("div", {}, course.button("All off", reset)), story,
    make("div", {}, course.button("Draw 1", () => draw(1)), course.button("Draw 1000 and count", () => draw(1000)), course.button("Forget the draws", () => forget())),
    seed.row, counted, make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Probabilities and draws" }, table),
    make("p", { class: "note" }, "␣ is a space, ↵ the end of a line. “Expected” is the number of draws times the probability, and how far chance usually strays from it."),
  );

  // What is shown.

  const decoded = new Map();
  function logitsOf(prompt) {
    if (!decoded.has(prompt)) {
      const bytes = Uint8Array.from(atob(prompt.logits), (letter) => letter.charCodeAt(0));
      const view = new DataView(bytes.buffer);
      decoded.set(prompt, Float32Array.from({ length: V }, (_, i) => view.getFloat32(4 * i, true)));
    }
    return decoded.get(prompt);
  }

  let before, after, next, counts, drawn;
  const percent = (x) => (x === 0 ? "0" : x < 0.0005 ? "<0.1 %" : `${(100 * x).toFixed(1)} %`);
  const many = (n) => n.toLocaleString("en");

  /** The settings have changed: reshape anew, and forget the draws. */
  function show() {
    const { ids } = prompts[now.prompt], logits = logitsOf(prompts[now.prompt]);
    before = softmax(logits);
    after = reshape(logits, ids);
    const n = left(after.logits);
    const mass = before.reduce((sum, x, id) => sum + (after.logits[id] > -Infinity ? x : 0), 0);
    const parts = after.parts.map(([name, number]) => `${name}: ${many(number)} left`);
    story.textContent = `${parts.length ? `In this order: ${parts.join(", ")}. ` : ""}${n === V ? `All ${many(V)} tokens can be drawn.` : `${n === 1 ? "One" : many(n)} of ${many(V)} tokens can be drawn; before, ${n === 1 ? "it" : "they"} had ${percent(mass)} of the probability.`}`;
    Object.assign(place.dataset, { kept: n, parts: JSON.stringify(after.parts), settings: JSON.stringify(now) });
    forget();
  }

  function forget() {
    next = chances(now.seed);
    counts = new Map();
    drawn = 0;
    counted.textContent = "Nothing drawn yet.";
    fill();
  }

  /** Draw from the probabilities: go along their running sum until the chance is passed. */
  function draw(times) {
    const sums = new Float64Array(V);
    let sum = 0;
    for (let id = 0; id < V; id++) sums[id] = sum += after.probabilities[id];
    let id = 0;
    for (let i = 0; i < times; i++) {
      const chance = next() * sum;
      let low = 0, high = V - 1; // the first place whose sum is above the chance
      while (low < high) {
        const middle = (low + high) >> 1;
        if (sums[middle] > chance) high = middle; else low = middle + 1;
      }
      id = low;
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    drawn += times;
    fill();
    const first = times === 1 ? `Drawn: “${prompts[now.prompt].text}${tokens[id]}”. ` : "";
    counted.textContent = `${first}${drawn === 1 ? "One draw" : `${many(drawn)} draws`} so far, ${counts.size === 1 ? "one token" : `${many(counts.size)} different tokens`}. ${strays()}`;
    counted.dataset.last = id;
  }

  /** How far the counts are from what is expected, in standard deviations. */
  function strays() {
    let worst = 0, compared = 0;
    after.probabilities.forEach((p, id) => {
      if (p === 1 || drawn * p < 5) return; // too rare to say much
      compared++;
      worst = Math.max(worst, Math.abs((counts.get(id) ?? 0) - drawn * p) / Math.sqrt(drawn * p * (1 - p)));
    });
    if (!compared) return "";
    return `Of the ${compared === 1 ? "one token" : `${compared} tokens`} expected five times or more, the farthest is ${worst.toFixed(1)} standard deviations from its expectation; that is chance as long as it stays below about 4.`;
  }

  /** The rows: the likeliest before and after, then all others together. */
  function fill() {
    const best = (list) => [...list.keys()].sort((a, b) => list[b] - list[a] || a - b).slice(0, SHOWN);
    const shown = new Set([...best(before), ...best(after.probabilities).filter((id) => after.probabilities[id] > 0)]);
    const ids = [...shown].sort((a, b) => before[b] - before[a] || a - b);
    const others = [before, after.probabilities].map((list) => list.reduce((sum, x, id) => sum + (shown.has(id) ? 0 : x), 0));
    const count = (some) => some.reduce((sum, id) => sum + (counts.get(id) ?? 0), 0);
    const rest = drawn - count(ids);
    body.replaceChildren(
      ...ids.map((id) => line(visible(tokens[id]), before[id], after.probabilities[id], count([id]), id, after.logits[id] > -Infinity)),
      line(`${many(V - ids.length)} others`, ...others, rest, "others", others[1] > 0),
    );
  }

  function line(name, before, after, count, id, kept) {
    const share = (x, kind) => {
      const bar = make("span", { class: `widget-bar ${kind}` });
      bar.style.width = `${(100 * x).toFixed(2)}%`;
      return make("td", { class: "widget-bar-cell" }, make("span", { class: "widget-bar-room" }, bar), percent(x));
    };
    const spread = Math.sqrt(drawn * after * (1 - after));
    const cells = [share(before, "before"), kept ? share(after, "after") : make("td", {}, "refused")];
    const about = spread < 10 ? spread.toFixed(1) : Math.round(spread);
    return make("tr", { "data-id": id, "data-before": before, "data-after": after, "data-count": count, "data-kept": kept ? "yes" : "no" },
      make("th", { scope: "row" }, name), ...cells,
      make("td", {}, drawn ? many(count) : ""), make("td", { class: "sampling-expected" }, drawn && kept ? `${(drawn * after).toFixed(1)} ±\u00a0${about}` : ""));
  }

  show();
});

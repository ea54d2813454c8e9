/* The key/value cache of lesson 09: what is computed at each step of writing, with and without it, how
   much that is, how much memory the cache takes, and how long it really took.

   data/cache.js holds the small model's sizes, a text that it wrote, and times measured when the site
   was made. Option: data-step. */
"use strict";

course.widget("cache", async (place) => {
  const { make, draw, visible } = course;
  const { model, tokens, prompt, measured } = await course.data("cache");
  const last = tokens.length - prompt - 1; // step s chooses the token at place prompt + s
  const PAUSE = 900; // milliseconds between two steps, time enough to see what changed
  const millions = (n) => many(Number((n / 1e6).toFixed(1)));
  const many = (n) => n.toLocaleString("en");

  /** Multiplications of one call: `fresh` tokens go in, and look at `keys` tokens, their own included.
      Only matrix products are counted, masked places of attention too, as lesson 05's model computes
      them; the head works for the last place alone. */
  function multiplications(fresh, keys) {
    const { layers, heads, channels: C, inner, vocabulary } = model;
    const width = heads * Math.floor(C / heads); // of all heads together
    const linear = fresh * (3 * C * width + width * C + 2 * C * inner);
    const attention = 2 * fresh * keys * width; // queries by keys, weights by values
    return layers * (linear + attention) + C * vocabulary;
  }

  // First part: step by step.

  let step = 0, ticking = null;
  const slider = course.slider("Step", { min: 0, max: last, step: 1, value: 0, show: (s) => `${s} of ${last}`, change: (s) => { pause(); go(s); } });
  const back = course.button("Step back", () => { pause(); go(step - 1); });
  const on = course.button("Step on", () => { pause(); go(step + 1); });
  const play = course.button("Play", () => (ticking === null ? start() : pause()));
  const buttons = make("div", {}, back, on);
  if (!course.still()) buttons.append(play);
  const rows = { without: make("div", { class: "cache-tokens", role: "img" }), cached: make("div", { class: "cache-tokens", role: "img" }) };
  const said = make("p", { class: "cache-said", "aria-live": "polite" });
  const work = make("tbody");
  const heads = (...names) => make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
  const legend = make("p", { class: "note" },
    make("span", { class: "cache-token computed" }, "computed"), " in this step; ",
    make("span", { class: "cache-token kept" }, "kept"), " keys and values are looked up; ",
    make("span", { class: "cache-token chosen" }, "new"), " is chosen at the end of the step.");

  function start() {
    if (step === last) go(0);
    ticking = setInterval(() => {
      if (!place.isConnected || step === last) { pause(); return; }
      go(step + 1);
    }, PAUSE);
    play.textContent = "Pause";
  }

  function pause() {
    clearInterval(ticking);
    ticking = null;
    play.textContent = "Play";
  }

  function chip(i, length, computed) {
    const state = i === length ? "chosen" : i > length ? "later" : computed ? "computed" : "kept";
    const one = make("span", { class: `cache-token ${state}`, "data-state": state });
    const text = visible(tokens[i]);
    one.textContent = state === "later" ? "\u00a0".repeat(text.length) : text; // its room is kept: nothing jumps
    return one;
  }

  function go(to) {
    step = Math.min(last, Math.max(0, to));
    slider.set(step);
    back.disabled = step === 0;
    on.disabled = step === last;
    const length = prompt + step, fresh = step === 0 ? length : 1; // tokens so far; new ones among them
    const fill = (row, from) => {
      row.replaceChildren(...tokens.map((_, i) => chip(i, length, i >= from)));
      row.setAttribute("aria-label", `${length - from} of ${length} tokens are computed, ${from} are kept`);
    };
    fill(rows.without, 0);
    fill(rows.cached, length - fresh);

    const sum = (one) => [...Array(step + 1).keys()].reduce((all, s) => all + one(s), 0);
    const here = { without: multiplications(length, length), cached: multiplications(fresh, length) };
    const inAll = {
      without: sum((s) => multiplications(prompt + s, prompt + s)),
      cached: sum((s) => multiplications(s === 0 ? prompt : 1, prompt + s)),
    };
    work.replaceChildren(...[["without", "without a cache", length], ["cached", "with a cache", fresh]].map(([kind, name, n]) =>
      make("tr", { "data-kind": kind, "data-computed": n, "data-step": here[kind], "data-all": inAll[kind] },
        make("th", { scope: "row" }, name), make("td", {}, String(n)), make("td", {}, millions(here[kind])), make("td", {}, millions(inAll[kind])))));
    const times = (a, b) => (a / b).toFixed(1);
    said.textContent = step === 0
      ? `Step 0: both compute all ${length} tokens of the prompt; the cache keeps their keys and values. “${visible(tokens[length])}” is chosen.`
      : `Step ${step}: without a cache all ${length} tokens are computed once more, with it only “${visible(tokens[length - 1])}”: ${times(here.without, here.cached)} times less work. “${visible(tokens[length])}” is chosen.`;
    place.dataset.step = step;
  }

  // Second part: memory.

  const shapes = [
    ["Our small model", model.layers, model.heads * Math.floor(model.channels / model.heads), model.longest],
    ["DistilGPT-2", 6, 768, 1024],
    ["GPT-2, the smallest", 12, 768, 1024],
    ["GPT-2, the largest", 48, 1600, 1024],
    ["GPT-3", 96, 12288, 2048],
  ];
  let shape = 0, bytes = 4;
  const whichShape = course.choice("Model", shapes.map(([name], i) => [i, name]), (i) => { shape = Number(i); fit(); }, 0);
  const whichBytes = course.choice("Numbers", [[4, "32 bits: 4 bytes each"], [2, "16 bits: 2 bytes each"]], (b) => { bytes = Number(b); memory(); }, 4);
  const length = course.slider("Tokens in the cache", { min: 1, max: model.longest, step: 1, value: model.longest, show: many, change: memory });
  const took = make("p", { class: "cache-memory", "aria-live": "polite" });

  function fit() {
    length.input.max = shapes[shape][3];
    length.set(shapes[shape][3]);
    memory();
  }

  function memory() {
    const [name, layers, channels] = shapes[shape];
    const all = 2 * layers * length.value() * channels * bytes;
    const size = all < 1e6 ? `${(all / 1e3).toFixed(1)} kB` : all < 1e9 ? `${(all / 1e6).toFixed(1)} MB` : `${(all / 1e9).toFixed(2)} GB`;
    took.textContent = `${name}: 2 (keys and values) × ${layers} layers × ${many(length.value())} tokens × ${many(channels)} channels × ${bytes} bytes = ${many(all)} bytes, ${size}, for each text that is written.`;
    took.dataset.bytes = all;
  }

  // Third part: what the clock said.

  const day = new Date(`${measured.day}T00:00:00`).toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
  const times = measured.times; // [length, milliseconds with a cache, without]
  const nth = course.slider("Text so far", { min: 0, max: times.length - 1, step: 1, value: times.length - 1, show: (i) => `${times[i][0]} tokens`, change: clock });
  const ticked = make("p", { class: "cache-clock", "aria-live": "polite" });
  const chart = make("div");
  let marker, across; // the line at the chosen length, and the function from lengths to places

  function drawChart() {
    const most = Math.max(...times.map(([, fast, slow]) => Math.max(fast, slow)));
    const longest = times.at(-1)[0], x = (n) => 44 + (n / longest) * 300, y = (ms) => 190 - (ms / most) * 165;
    const svg = draw("svg", { viewBox: "0 0 360 236", width: 460, role: "img", "aria-label": `Milliseconds for one more token, by the length of the text: without a cache they rise to ${times.at(-1)[2].toFixed(1)}, with it they stay near ${times.at(-1)[1].toFixed(1)}. The table below has all of them.` });
    const round = 10 ** Math.floor(Math.log10(most)), tick = most / round < 2 ? round / 2 : most / round < 5 ? round : 2 * round;
    for (let ms = 0; ms <= most; ms += tick) {
      svg.append(draw("line", { x1: 44, x2: 350, y1: y(ms), y2: y(ms), class: "cache-grid" }),
        draw("text", { x: 40, y: y(ms) + 4, "text-anchor": "end", class: "cache-axis" }, String(Number(ms.toPrecision(3)))));
    }
    for (const n of [0, longest / 4, longest / 2, (3 * longest) / 4, longest]) {
      svg.append(draw("text", { x: x(n), y: 207, "text-anchor": "middle", class: "cache-axis" }, String(Math.round(n))));
    }
    svg.append(draw("text", { x: 197, y: 228, "text-anchor": "middle", class: "cache-axis" }, "tokens of the text so far"),
      draw("text", { x: 44, y: 14, class: "cache-axis" }, "milliseconds for one more token"));
    for (const [column, kind, word] of [[2, "without", "without a cache"], [1, "cached", "with a cache"]]) {
      const points = times.map((row) => `${x(row[0]).toFixed(1)},${y(row[column]).toFixed(1)}`);
      const [n, ms] = [times[Math.floor(times.length * 0.55)][0], times[Math.floor(times.length * 0.55)][column]];
      svg.append(draw("polyline", { points: points.join(" "), class: `cache-curve ${kind}` }),
        draw("text", { x: x(n) - 8, y: y(ms) - (kind === "without" ? 18 : 10), "text-anchor": "end", class: `cache-name ${kind}` }, word));
    }
    marker = draw("line", { y1: 25, y2: 190, class: "cache-marker" });
    across = x;
    svg.append(marker);
    chart.replaceChildren(svg);
  }

  function clock() {
    const [n, fast, slow] = times[nth.value()];
    marker.setAttribute("x1", across(n));
    marker.setAttribute("x2", across(n));
    ticked.textContent = `With ${n} tokens so far, the next one took ${fast.toFixed(1)} ms with a cache and ${slow.toFixed(1)} ms without: ${(slow / fast).toFixed(1)} times as long.`;
    Object.assign(ticked.dataset, { length: n, cached: fast, without: slow });
  }

  const measuredTable = make("details", {}, make("summary", {}, "All measured times"),
    make("table", { class: "cache-table" }, make("caption", {}, "Milliseconds for one more token"), heads("tokens so far", "with a cache", "without"),
      make("tbody", {}, ...times.map(([n, fast, slow]) => make("tr", {}, make("th", { scope: "row" }, String(n)), make("td", {}, fast.toFixed(2)), make("td", {}, slow.toFixed(2)))))));
  const part = (title, ...content) => make("div", { class: "cache-part" }, make("p", { class: "cache-title" }, title), ...content);
  place.append(
    part("Step by step", slider.row, buttons,
      make("p", { class: "cache-which" }, "Without a cache"), rows.without, make("p", { class: "cache-which" }, "With a cache"), rows.cached, legend, said,
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Work" }, make("table", { class: "cache-table" }, make("caption", {}, "Millions of multiplications"), heads("how", "tokens computed", "in this step", "in all so far"), work))),
    part("What it costs: memory", whichShape.row, whichBytes.row, length.row, took),
    part("What it saves: time", nth.row, ticked, chart,
      make("p", { class: "note" }, `Our small model, measured on ${day} on ${measured.hardware}: the quickest of a few calls each.`), measuredTable),
  );
  drawChart();
  go(Math.max(0, Number(place.dataset.step ?? 0)));
  memory();
  clock();
});

/* Position patterns: the waves of lesson 02 beside the positions that a small model has learned.

   Options of the place: data-n-embd (channels at the start), data-position.
   For tests the place carries data-sine, data-cosine (of the chosen position and pair), data-dot (of the
   two positions), data-alike and data-learned (cosines of the same two, by formula and as learned). */
"use strict";

(() => {
  const POSITIONS = 256;
  const DISTANCES = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192];

  /** One row per position: sines in even channels, cosines in odd ones, the first pair the fastest. */
  function sinusoidal(positions, channels) {
    return Array.from({ length: positions }, (_, t) =>
      Array.from({ length: channels }, (_, c) => {
        const angle = t / 10_000 ** ((c - (c % 2)) / channels);
        return c % 2 ? Math.cos(angle) : Math.sin(angle);
      }));
  }

  /** The learned table, from whole numbers of one byte and a scale per row. */
  function learned(data) {
    const bytes = Uint8Array.from(atob(data.values), (letter) => letter.charCodeAt(0));
    const whole = new Int8Array(bytes.buffer);
    return data.scales.map((scale, t) =>
      Array.from(whole.subarray(t * data.channels, (t + 1) * data.channels), (value) => value * scale));
  }

  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const cosine = (a, b) => dot(a, b) / Math.max(Math.sqrt(dot(a, a) * dot(b, b)), 1e-12);

  /** -1 is blue, 0 nearly white, 1 orange: colours that colour-blind people tell apart. */
  function colour(value) {
    const end = value < 0 ? [0, 90, 160] : [200, 80, 0];
    const share = Math.min(1, Math.abs(value));
    return end.map((part) => Math.round(247 + share * (part - 247)));
  }

  /** Paint a table, one row of pixels per position, one column per channel. */
  function paint(canvas, table, largest) {
    [canvas.width, canvas.height] = [table[0].length, table.length];
    const image = new ImageData(canvas.width, canvas.height);
    table.forEach((row, t) => row.forEach((value, c) => {
      image.data.set([...colour(value / largest), 255], 4 * (t * row.length + c));
    }));
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [440, 180, 28, 8, 8, 40];
  const y = (value) => TOP + ((1 - value) / 2) * (HEIGHT - TOP - BOTTOM);

  /** A plot of values from -1 to 1 over positions: {svg, show(curves, marks, from, to, description)}. */
  function plot(across) {
    const svg = course.draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot" });
    const show = (curves, marks, from, to, description) => {
      const x = (t) => LEFT + ((t - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
      svg.setAttribute("aria-label", description);
      svg.replaceChildren(
        ...[-1, 0, 1].flatMap((value) => [
          course.draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }),
          course.draw("text", { x: LEFT - 6, y: y(value) + 5, "text-anchor": "end" }, String(value).replace("-", "−")),
        ]),
        ...[0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(from + share * (to - from))).map((t) =>
          course.draw("text", { x: x(t), y: HEIGHT - BOTTOM + 17, "text-anchor": t === to ? "end" : "middle" }, String(t))),
        course.draw("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, across),
        ...marks.map((t) => course.draw("line", { x1: x(t), x2: x(t), y1: TOP, y2: HEIGHT - BOTTOM, class: "mark" })),
        ...curves.map(({ points, kind }) => course.draw("polyline", { class: `curve ${kind}`, points: points.map(([t, value]) => `${x(t).toFixed(1)},${y(value).toFixed(1)}`).join(" ") })));
    };
    return { svg, show };
  }

  course.widget("positions", async (place) => {
    const { make } = course;
    const model = await course.data("positions");
    const own = learned(model);
    const last = Math.min(POSITIONS, own.length) - 1;
    let table = [];

    const channels = course.slider("Channels (n_embd)", { min: 2, max: 256, step: 1, value: place.dataset.nEmbd ?? 64, change: recompute });
    const position = course.slider("Position", { min: 0, max: last, step: 1, value: place.dataset.position ?? 20, change: update });
    const pair = course.slider("Pair of channels", { min: 0, max: 31, step: 1, value: 4, show: (i) => `${2 * i} and ${2 * i + 1}`, change: update });
    const other = course.slider("Other position", { min: 0, max: last, step: 1, value: 24, change: update });

    /** A heat map that can be clicked, with lines where the sliders stand. */
    function map(title, paired) {
      const canvas = make("canvas", { role: "img" });
      const [across, down] = [make("span", { class: "at-position" }), make("span", { class: "at-pair" })];
      const frame = make("div", { class: "heat" }, canvas, across, paired ? down : "");
      frame.addEventListener("click", (event) => {
        const box = canvas.getBoundingClientRect();
        position.set(Math.floor(((event.clientY - box.top) / box.height) * canvas.height));
        if (paired) pair.set(Math.floor(((event.clientX - box.left) / box.width) * canvas.width / 2));
        update();
      });
      return { canvas, across, down, figure: make("figure", {}, make("figcaption", {}, title), frame, make("p", { class: "note axis" }, "channel →, position ↓")) };
    }
    const formula = map("By formula: sines and cosines", true);
    const grown = map(`Learned by our small model (${model.channels} channels)`, false);
    const waves = plot("position");
    const alike = plot("other position");
    const [pairSays, dotSays] = [make("p", { "aria-live": "polite" }), make("p", { "aria-live": "polite" })];
    const [vector, distances] = [make("table", { class: "numbers" }), make("table", { class: "numbers" })];
    const scrolling = (name, child) => make("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": name }, child);

    function recompute() {
      table = sinusoidal(last + 1, channels.value());
      pair.input.max = Math.ceil(channels.value() / 2) - 1;
      pair.set(Math.min(pair.value(), pair.input.max));
      paint(formula.canvas, table, 1);
      formula.canvas.setAttribute("aria-label", `Heat map of ${last + 1} positions and ${channels.value()} channels by formula: the first channels change quickly from row to row, the last hardly at all.`);
      update();
    }

    function update() {
      const [t, i, s, width] = [position.value(), pair.value(), other.value(), channels.value()];
      const single = 2 * i + 1 >= width; // an odd width: the last sine has no cosine
      for (const { across } of [formula, grown]) {
        across.style.top = `${((t + 0.5) / (last + 1)) * 100}%`;
      }
      formula.down.style.left = `${((2 * i) / width) * 100}%`;
      formula.down.style.width = `${((single ? 1 : 2) / width) * 100}%`;

      const [sine, cos] = [table[t][2 * i], table[t][2 * i + 1]];
      const turn = 2 * Math.PI * 10_000 ** ((2 * i) / width);
      pairSays.textContent = `Channel ${2 * i}${single ? "" : ` and ${2 * i + 1}`} at position ${t}: sine ${sine.toFixed(4)}` +
        `${single ? " (the width is odd: this sine has no cosine)" : `, cosine ${cos.toFixed(4)}`}. ` +
        `This pair goes round once in ${turn.toLocaleString("en", { maximumSignificantDigits: 4 })} positions.`;
      // Four turns of the wave, with the chosen position among them: more would be too dense to see.
      const span = Math.min(last, Math.max(16, Math.ceil(4 * turn)));
      const from = Math.min(last - span, Math.max(0, t - Math.floor(span / 2)));
      const wave = (how) => Array.from({ length: 241 }, (_, k) => from + (k / 240) * span).map((at) => [at, how((2 * Math.PI * at) / turn)]);
      waves.show([{ points: wave(Math.sin), kind: "first" }, ...(single ? [] : [{ points: wave(Math.cos), kind: "second" }])], [t], from, from + span,
        `Sine and cosine of the pair over the positions ${from} to ${from + span}. ${pairSays.textContent}`);

      const byFormula = table.map((row) => cosine(table[t], row));
      const byModel = own.slice(0, last + 1).map((row) => cosine(own[t], row));
      const product = dot(table[t], table[s]);
      dotSays.textContent = `Positions ${t} and ${s}, ${Math.abs(t - s)} apart: dot product ${product.toFixed(3)}, cosine ${byFormula[s].toFixed(3)}; ` +
        `as learned by the small model: cosine ${byModel[s].toFixed(3)}.`;
      alike.show([{ points: [...byFormula.entries()], kind: "first" }, { points: [...byModel.entries()], kind: "second" }], [t, s], 0, last,
        `Cosine between position ${t} and every other, by formula and as learned. ${dotSays.textContent}`);
      vector.replaceChildren(make("caption", {}, `Position ${t} by formula`),
        make("tr", {}, ...["Pair", "Sine", "Cosine"].map((head) => make("th", { scope: "col" }, head))),
        ...Array.from({ length: Math.ceil(width / 2) }, (_, k) => make("tr", {}, ...[k, table[t][2 * k].toFixed(4), table[t][2 * k + 1]?.toFixed(4) ?? "none"].map((cell) => make("td", {}, String(cell))))));
      distances.replaceChildren(make("caption", {}, `Position ${t} and those after it`),
        make("tr", {}, ...["Distance", "Dot product by formula", "Cosine by formula", "Cosine, learned"].map((head) => make("th", { scope: "col" }, head))),
        ...DISTANCES.filter((d) => t + d <= last).map((d) => make("tr", {}, ...[d, dot(table[t], table[t + d]).toFixed(3), byFormula[t + d].toFixed(3), byModel[t + d].toFixed(3)].map((cell) => make("td", {}, String(cell))))));
      Object.assign(place.dataset, { sine, cosine: cos ?? "", dot: product, alike: byFormula[s], learned: byModel[s] });
    }

    const key = (kind, name) => make("span", { class: `key ${kind}` }, name);
    place.append(channels.row, position.row, pair.row,
      make("div", { class: "heats" }, formula.figure, grown.figure),
      make("p", { class: "note legend" }, "low ", make("span", { class: "scale" }), " high; by formula from −1 to 1, learned from its smallest to its largest number. Click a map, or move the sliders."),
      pairSays, make("p", { class: "note" }, "The chosen pair of channels: ", key("first", "sine"), key("second", "cosine")), waves.svg,
      other.row, dotSays, make("p", { class: "note" }, "How alike (cosine) the chosen position is to all others: ", key("first", "by formula"), key("second", "learned")), alike.svg,
      make("details", {}, make("summary", {}, "The chosen position as a table"), scrolling("The chosen position", vector)),
      make("details", {}, make("summary", {}, "Likeness by distance as a table"), scrolling("Likeness by distance", distances)));
    const largest = Math.max(...own.flat().map(Math.abs));
    paint(grown.canvas, own, largest);
    grown.canvas.setAttribute("aria-label", `Heat map of the ${own.length} positions that our small model has learned, ${model.channels} channels each, from −${largest.toFixed(2)} to ${largest.toFixed(2)}.`);
    recompute();
  });
})();

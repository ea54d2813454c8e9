/* LoRA's rank (lesson 12): a change that somebody wants to make to a layer's weights, drawn as a picture,
   and the nearest one that a detour of rank r can make; beside it, how many numbers each takes. */
"use strict";

course.widget("rank", (place) => {
  const { make, draw, slider, choice } = course;
  const SIZE = 16;

  // Changes one might want. Each is a function of row and column, both 0 to 15.
  const CHANGES = [
    ["one stripe", (i, j) => (j === 5 ? 1 : 0)],
    ["a chessboard", (i, j) => ((i + j) % 2 ? 1 : -1)],
    ["two hills", (i, j) => bump(i - 4, j - 4) - bump(i - 11, j - 10)],
    ["a ring", (i, j) => (Math.abs(Math.hypot(i - 7.5, j - 7.5) - 5) < 0.8 ? 1 : 0)],
    ["the diagonal", (i, j) => (i === j ? 1 : 0)],
    ["noise", (i, j) => noise(i * SIZE + j)],
  ];
  function bump(y, x) { return Math.exp(-(x * x + y * y) / 9); }
  /** The same numbers on every machine: the fractional part of a sine, which looks like chance. */
  function noise(n) { const x = Math.sin(n * 12.9898 + 4.1414) * 43758.5453; return 2 * (x - Math.floor(x)) - 1; }

  const which = choice("the change", CHANGES.map(([name], i) => [i, name]), look, place.dataset.change ?? 3);
  const rank = slider("rank", { min: 1, max: SIZE, step: 1, value: Number(place.dataset.rank ?? 2), change: update });
  const shape = choice("counted for a layer of", [
    ["16 16", "16 \u2192 16 (the picture)"], ["256 768", "256 \u2192 768 (our small model's c_attn)"],
    ["768 2304", "768 \u2192 2,304 (DistilGPT-2's c_attn)"], ["768 3072", "768 \u2192 3,072 (its c_fc)"], ["4096 4096", "4,096 \u2192 4,096 (q of a 7B model)"],
  ], update, "256 768");
  const picture = draw("svg", { viewBox: "0 0 340 172", width: 560, "aria-hidden": "true" });
  const says = make("p", { "aria-live": "polite" });
  place.append(which.row, rank.row, shape.row, picture, says);
  let parts = []; // {value, left, right}: the change as a sum of outer products, the largest first
  let wanted = [];
  look();

  function look() {
    const change = CHANGES[Number(which.value())][1];
    wanted = Array.from({ length: SIZE }, (_, i) => Array.from({ length: SIZE }, (_, j) => change(i, j)));
    parts = decompose(wanted);
    update();
  }

  /** Singular values and vectors, by Jacobi's rotations of the columns (one-sided; Hestenes 1958). */
  function decompose(matrix) {
    const columns = transpose(matrix), right = transpose(matrix).map((_, i) => matrix.map((_, j) => Number(i === j)));
    for (let sweep = 0; sweep < 30; sweep++) {
      let turned = false;
      for (let p = 0; p < SIZE - 1; p++) for (let q = p + 1; q < SIZE; q++) {
        const a = dot(columns[p], columns[p]), b = dot(columns[q], columns[q]), c = dot(columns[p], columns[q]);
        if (Math.abs(c) < 1e-13 * Math.sqrt(a * b) || c === 0) continue;
        turned = true;
        const z = (b - a) / (2 * c);
        const t = (Math.sign(z) || 1) / (Math.abs(z) + Math.hypot(1, z));
        const cos = 1 / Math.hypot(1, t), sin = cos * t;
        for (const rows of [columns, right]) {
          const old = rows[p];
          rows[p] = old.map((x, k) => cos * x - sin * rows[q][k]);
          rows[q] = rows[q].map((x, k) => sin * old[k] + cos * x);
        }
      }
      if (!turned) break;
    }
    return columns.map((column, i) => ({ value: Math.sqrt(dot(column, column)), column, right: right[i] }))
      .sort((one, other) => other.value - one.value);
  }
  function transpose(m) { return m[0].map((_, j) => m.map((row) => row[j])); }
  function dot(x, y) { return x.reduce((sum, v, i) => sum + v * y[i], 0); }

  function update() {
    if (!parts.length) return;
    const r = rank.value();
    const made = wanted.map((row, i) => row.map((_, j) => parts.slice(0, r).reduce((sum, part) => sum + part.column[i] * part.right[j], 0)));
    const all = parts.reduce((sum, part) => sum + part.value ** 2, 0);
    const kept = parts.slice(0, r).reduce((sum, part) => sum + part.value ** 2, 0) / all;
    const [inputs, outputs] = shape.value().split(" ").map(Number);
    const full = inputs * outputs, lora = r * (inputs + outputs);
    const largest = Math.max(...wanted.flat().map(Math.abs));
    const cell = 9;
    const grid = (numbers, left) => numbers.flatMap((row, i) => row.map((v, j) => {
      const share = Math.max(-1, Math.min(1, v / largest));
      return draw("rect", { x: left + j * cell, y: 22 + i * cell, width: cell - 0.5, height: cell - 0.5,
        style: `fill:var(--course-${share < 0 ? "orange" : "blue"});fill-opacity:${Math.abs(share).toFixed(3)}` });
    }));
    const frame = (left) => draw("rect", { x: left - 1, y: 21, width: SIZE * cell + 1.5, height: SIZE * cell + 1.5, style: "fill:none;stroke:var(--course-line)" });
    picture.replaceChildren(
      draw("text", { x: 10, y: 14, "font-size": 13 }, "the change wanted"),
      draw("text", { x: 184, y: 14, "font-size": 13 }, `nearest of rank ${r}`),
      frame(10), ...grid(wanted, 10), frame(184), ...grid(made, 184));
    const percent = (x) => (x >= 0.9995 ? "100" : (100 * x).toFixed(1));
    const name = CHANGES[Number(which.value())][0];
    const exact = 1 - kept < 1e-9;
    const number = (n) => n.toLocaleString("en");
    const price = lora < full ? `${number(lora)}, which is ${(100 * lora / full).toPrecision(2)} %` : `${number(lora)}: more than the whole matrix, so one had better train that`;
    says.textContent = `With rank ${r}, ${exact ? "all" : `${percent(kept)} %`} of \u201c${name}\u201d (its squared numbers) can be had. `
      + `A layer of ${number(inputs)} \u2192 ${number(outputs)} has ${number(full)} weights; A and B together have ${price}.`;
    Object.assign(place.dataset, {
      kept, full, lora, made: made.flat().map((v) => v.toFixed(6)).join(" "), wanted: wanted.flat().map((v) => v.toFixed(6)).join(" "),
    });
  }
});

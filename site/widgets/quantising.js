/* Quantising one can touch: a row of real weights on a grid of few whole numbers. (Lesson 13.)

   Options of the place: data-bits, data-row (0 to 4), data-scale-of (row or tensor).
   For tests the place carries data-scale, data-error (the largest), data-bound (of one weight), data-numbers
   (all of the row), data-output, data-rounded-output, data-output-bound and data-measured (bits per byte). */
"use strict";

(() => {
  const DRAWN = 24; // weights of the row; the rest would be too thin to see
  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [440, 260, 60, 8, 12, 34];
  const MOST_LINES = 31; // grid lines; with more of them they would be a grey area

  /** The nearest whole number; of two equally near the even one, as torch does. */
  function nearest(value) {
    const low = Math.floor(value);
    const rest = value - low;
    if (rest !== 0.5) return Math.round(value);
    return low % 2 === 0 ? low : low + 1;
  }

  /** A row on the grid: numbers, what they are read as, and how far off they are. In 32-bit floats, as torch. */
  function quantise(weights, largest, bits) {
    const scale = Math.fround(Math.fround(largest) / (2 ** (bits - 1) - 1));
    const numbers = weights.map((w) => (scale > 0 ? nearest(Math.fround(Math.fround(w) / scale)) : 0));
    const read = numbers.map((n) => n * scale);
    const errors = read.map((value, i) => Math.abs(value - weights[i]));
    return { scale, numbers, read, errors, error: Math.max(...errors) };
  }

  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const size = (weights) => Math.max(...weights.map(Math.abs));
  const brief = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

  course.widget("quantising", async (place) => {
    const { make, draw } = course;
    const data = await course.data("quantising");
    const names = ["the smallest weights", "small ones", "middling ones", "large ones", "the largest weight of all"];
    const row = course.choice("Row", data.rows.map(({ number, weights }, i) => [i, `row ${number}: ${names[i]} (up to ${brief(size(weights))})`]), show, place.dataset.row ?? 2);
    const bits = course.slider("Bits for each weight", { min: data.widths[0], max: data.widths.at(-1), step: 1, value: place.dataset.bits ?? 4, change: show });
    const one = course.choice("Scale", [["row", "one for each row"], ["tensor", "one for the whole matrix"]], show, place.dataset.scaleOf ?? "row");
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot" });
    const says = make("p", { "aria-live": "polite" });
    const whole = make("p", { "aria-live": "polite" });
    const body = make("tbody");
    const table = make("details", {}, make("summary", {}, `The first ${DRAWN} weights as a table`),
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "weights" }, make("table", {},
        make("thead", {}, make("tr", {}, ...["weight", "whole number", "read as", "off by"].map((text) => make("th", { scope: "col" }, text)))), body)));

    function show() {
      const { weights, number } = data.rows[Number(row.value())];
      const perRow = one.value() === "row";
      const width = bits.value();
      const found = quantise(weights, perRow ? size(weights) : data.largest, width);
      const [output, roundedOutput] = [dot(weights, data.x), dot(found.read, data.x)];
      const bound = found.scale / 2;
      const outputBound = bound * data.x.reduce((sum, value) => sum + Math.abs(value), 0);
      const measured = data.measured[perRow ? "row" : "tensor"][data.widths.indexOf(width)];
      const used = new Set(found.numbers).size;
      paint(weights, found, width);
      svg.setAttribute("aria-label", `The first ${DRAWN} weights of row ${number}, from ${brief(Math.min(...weights.slice(0, DRAWN)))} to ${brief(Math.max(...weights.slice(0, DRAWN)))}, and where each comes to lie on a grid of steps of ${brief(found.scale)}.`);
      says.textContent = `The scale is ${brief(found.scale)}. Of ${2 ** width - 1} whole numbers this row uses ${used}. No weight is off by more than ${brief(found.error)}; half a step, ${brief(bound)}, is the bound. `
        + `After “${data.sentence}” this row gives ${brief(output)}, and rounded ${brief(roundedOutput)}: off by ${brief(Math.abs(output - roundedOutput))}, at most ${brief(outputBound)}.`;
      whole.textContent = `With this in all ${data.layers} layers the small model needs ${measured.toFixed(2)} bits per byte (${data.measured.full.toFixed(2)} in full precision), measured beforehand on ${data.tokens} tokens of stories made here.`;
      body.replaceChildren(...weights.slice(0, DRAWN).map((w, i) => make("tr", {},
        ...[w, found.numbers[i], found.read[i], found.errors[i]].map((value) => make("td", {}, brief(value))))));
      Object.assign(place.dataset, { scale: found.scale, error: found.error, bound, numbers: found.numbers.join(" "), output, roundedOutput, outputBound, measured });
    }

    /** Grid lines, a stem to each weight, a ring where it is and a square where it comes to lie. */
    function paint(weights, { scale, read }, width) {
      const most = Math.max(size(weights), scale) * 1.05;
      const y = (value) => TOP + ((1 - value / most) / 2) * (HEIGHT - TOP - BOTTOM);
      const x = (i) => LEFT + ((i + 0.5) / DRAWN) * (WIDTH - LEFT - RIGHT);
      const levels = [];
      for (let n = 1 - 2 ** (width - 1); n < 2 ** (width - 1); n += 1) if (Math.abs(n * scale) <= most) levels.push(n);
      const lines = levels.length <= MOST_LINES ? levels : [];
      svg.replaceChildren(
        ...lines.map((n) => draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(n * scale), y2: y(n * scale), class: "grid" })),
        draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(0), y2: y(0), class: "mark" }),
        ...[most / 1.05, 0, -most / 1.05].map((value) => draw("text", { x: LEFT - 5, y: y(value) + 5, "text-anchor": "end" }, brief(value))),
        ...weights.slice(0, DRAWN).flatMap((w, i) => [
          draw("line", { x1: x(i), x2: x(i), y1: y(w), y2: y(read[i]), class: "off" }),
          draw("rect", { x: x(i) - 5, y: y(read[i]) - 5, width: 10, height: 10, class: "landed" }),
          draw("circle", { cx: x(i), cy: y(w), r: 4, class: "weight" }),
        ]),
        draw("circle", { cx: LEFT + 10, cy: HEIGHT - 10, r: 4, class: "weight" }),
        draw("text", { x: LEFT + 19, y: HEIGHT - 5 }, "the weight"),
        draw("rect", { x: LEFT + 125, y: HEIGHT - 14, width: 8, height: 8, class: "landed" }),
        draw("text", { x: LEFT + 139, y: HEIGHT - 5 }, "where it comes to lie"));
    }

    place.append(row.row, bits.row, one.row, svg, says, whole, table);
    show();
  });
})();

/* Inside a block (lesson 04): eight numbers go through LayerNorm, a bend, and back into the stream; below,
   GELU beside ReLU with a point to slide or to drag. */
"use strict";

course.widget("block", (place) => {
  const { make, draw, slider, choice, button } = course;
  const uneven = [1, -1, 0.5, 2, -0.5, 0, 1.5, -2];
  const alike = [1, 1.001, 0.999, 1.002, 0.998, 1, 1.001, 0.999]; // where eps begins to matter
  let stream = [...uneven];
  let chosen = 0;

  const relu = (x) => Math.max(0, x);
  const gelu = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))); // GPT-2's form
  const shown = (v, digits = 2) => v.toFixed(digits).replace("-", "\u2212");
  const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  const length = (numbers) => Math.hypot(...numbers);

  // Eight numbers

  const which = choice("number", uneven.map((_, i) => [i, `channel ${i}`]), (i) => {
    chosen = Number(i);
    value.set(stream[chosen]);
    update();
  }, 0);
  const value = slider("its value", {
    min: -10, max: 10, step: 0.1, value: stream[0], show: (v) => shown(v, 1),
    change: (v) => { stream[chosen] = v; update(); },
  });
  const eps = slider("eps", {
    min: -6, max: 1, step: 1, value: -5, show: (power) => String(10 ** power), change: update,
  });
  const where = choice("the norm stands", [["branch", "in the branch (GPT-2)"], ["stream", "on the stream (2017)"]], update, "branch");
  function fill(numbers) { stream = [...numbers]; value.set(stream[chosen]); update(); }
  const presets = make("div", { class: "control" },
    button("as at first", () => fill(uneven)), button("nearly alike", () => fill(alike)));

  const bars = draw("svg", { viewBox: "0 0 340 164", width: 520, "aria-hidden": "true" });
  const rows = make("tbody");
  const table = make("table", {},
    make("caption", {}, "Channel by channel"),
    make("thead", {}, make("tr", {}, ...["channel", "enters", "is read", "its GELU", "leaves"].map(
      (text) => make("th", { scope: "col" }, text)))),
    rows);
  const says = make("p", { "aria-live": "polite" });

  // The bend

  const X = (x) => 170 + x * 38, Y = (y) => 150 - y * 34; // from numbers to the places of the picture
  const curve = (f) => Array.from({ length: 161 }, (_, i) => -4 + i / 20)
    .map((x, i) => `${i ? "L" : "M"}${X(x).toFixed(1)} ${Y(f(x)).toFixed(1)}`).join("");
  const points = { gelu: draw("circle", { r: 7, style: "fill:var(--course-blue)" }), relu: draw("circle", { r: 5, style: "fill:var(--course-orange)" }) };
  const upright = draw("line", { y1: 10, y2: 170, style: "stroke:currentColor;stroke-opacity:.5;stroke-dasharray:4 3" });
  const bend = draw("svg", { viewBox: "0 0 340 186", width: 520, class: "block-bend", "aria-hidden": "true" },
    draw("path", { d: `M${X(-4.2)} ${Y(0)}H${X(4.2)}M${X(0)} 8V172`, style: "fill:none;stroke:currentColor;stroke-opacity:.5" }),
    ...[-4, -2, 2, 4].map((x) => draw("text", { x: X(x), y: Y(0) + 16, "font-size": 12, "text-anchor": "middle" }, shown(x, 0))),
    ...[2, 4].map((y) => draw("text", { x: X(0) - 6, y: Y(y) + 4, "font-size": 12, "text-anchor": "end" }, String(y))),
    draw("path", { d: curve(relu), style: "fill:none;stroke:var(--course-orange);stroke-width:2;stroke-dasharray:5 3" }),
    draw("path", { d: curve(gelu), style: "fill:none;stroke:var(--course-blue);stroke-width:2.5" }),
    draw("text", { x: X(2) - 4, y: Y(3), "font-size": 13, "text-anchor": "end" }, "dashed: ReLU"),
    draw("text", { x: X(2.3), y: Y(1.2), "font-size": 13 }, "solid: GELU"),
    upright, points.relu, points.gelu);
  const at = slider("x", { min: -4, max: 4, step: 0.05, value: -1, show: (v) => shown(v), change: bending });
  const bent = make("p", { "aria-live": "polite" });
  function drag(event) {
    if (!event.buttons) return;
    const box = bend.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width * 340 - 170) / 38;
    at.set(Math.min(4, Math.max(-4, x)));
    bending();
  }
  bend.addEventListener("pointerdown", (event) => { bend.setPointerCapture(event.pointerId); drag(event); });
  bend.addEventListener("pointermove", drag);

  place.append(
    make("p", {}, make("strong", {}, "Eight numbers of the stream")),
    which.row, value.row, eps.row, where.row, presets, bars, says,
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table channel by channel" }, table),
    make("p", {}, make("strong", {}, "The bend")), at.row, bend, bent);
  update();
  bending();

  function norm(numbers) {
    const middle = mean(numbers);
    const variance = mean(numbers.map((v) => (v - middle) ** 2));
    return numbers.map((v) => (v - middle) / Math.sqrt(variance + 10 ** eps.value()));
  }

  function update() {
    const inBranch = where.value() === "branch";
    const read = inBranch ? norm(stream) : stream;
    const found = read.map(gelu); // stands in for a layer: it makes something of what it reads
    const sum = stream.map((v, i) => v + found[i]);
    const leaves = inBranch ? sum : norm(sum);
    const kept = leaves.reduce((total, v, i) => total + v * stream[i], 0) / (length(leaves) * length(stream) || 1);

    bars.replaceChildren(...[["enters", stream], ["is read", read], ["leaves", leaves]].flatMap(([title, numbers], g) => {
      const left = 6 + g * 114, largest = Math.max(1, ...numbers.map(Math.abs));
      return [
        draw("text", { x: left + 50, y: 12, "font-size": 13, "text-anchor": "middle" }, title),
        draw("path", { d: `M${left} 76H${left + 100}`, style: "stroke:currentColor;stroke-opacity:.6" }),
        ...numbers.map((v, i) => draw("rect", {
          x: left + 2 + i * 12.2, width: 10, y: 76 - Math.max(0, v) / largest * 54, height: Math.abs(v) / largest * 54,
          style: `fill:var(--course-${i === chosen ? "orange" : "blue"})`,
        })),
        draw("text", { x: left + 50, y: 146, "font-size": 12, "text-anchor": "middle" }, `length ${shown(length(numbers), 1)}`),
        draw("text", { x: left + 50, y: 161, "font-size": 12, "text-anchor": "middle" }, `largest ${shown(Math.max(...numbers.map(Math.abs)), 1)}`),
      ];
    }));
    const digits = Math.max(...stream) - Math.min(...stream) < 0.05 ? 3 : 2;
    rows.replaceChildren(...stream.map((v, i) => make("tr", {},
      make("th", { scope: "row" }, String(i)),
      ...[v, read[i], found[i], leaves[i]].map((number) => make("td", {}, shown(number, digits))))));
    says.textContent = `What enters has the mean ${shown(mean(stream))}; what the layer reads has the mean ${shown(mean(read))} `
      + `and the length ${shown(length(read), 1)}. `
      + (inBranch ? "What entered stands whole in the sum: take away what was found, and it is there again. "
        : "The norm has rescaled the sum: what entered cannot be had back by a subtraction. ")
      + `Cosine of what leaves with what entered: ${shown(kept)}.`;
    Object.assign(place.dataset, { enters: stream.join(" "), read: read.join(" "), leaves: leaves.join(" ") });
  }

  function bending() {
    const x = at.value();
    for (const [name, f] of [["gelu", gelu], ["relu", relu]]) {
      points[name].setAttribute("cx", X(x));
      points[name].setAttribute("cy", Y(f(x)));
    }
    upright.setAttribute("x1", X(x));
    upright.setAttribute("x2", X(x));
    bent.textContent = `At ${shown(x)}: GELU gives ${shown(gelu(x), 3)}, ReLU gives ${shown(relu(x), 3)}.`;
    Object.assign(place.dataset, { x, gelu: gelu(x), relu: relu(x) });
  }
});

/* Rotary phases: a query and a key as hands of clocks, turned by their places (lesson 11).

   Options of the place: data-channels, data-query (its place), data-key (its place).
   For tests the place carries data-score (the product of the turned vectors), data-distance, data-parts (what
   each pair adds to it), data-turned-query and data-turned-key (all channels, in their order). */
"use strict";

(() => {
  const FARTHEST = 200; // places
  const SPAN = 64; // distances in the curve
  const THETAS = [[10, "10: all pairs are fast"], [100, "100"], [10_000, "10,000, as most have it"], [500_000, "500,000, as Llama 3"]];

  /** Vectors to look at, two decimals each: [query, key]. */
  const VECTORS = {
    mixed: ["a query and a key of some head", (n) => [wave(n, 1.3, 0.4), wave(n, 0.9, -0.7)]],
    same: ["the same vector twice", (n) => [wave(n, 1.3, 0.4), wave(n, 1.3, 0.4)]],
    up: ["all hands point up", (n, layout) => [upright(n, layout), upright(n, layout)]],
  };
  const wave = (n, step, from) => Array.from({ length: n }, (_, c) => Math.round(100 * Math.cos(step * c + from)) / 100);
  const upright = (n, layout) => {
    const vector = new Array(n).fill(0);
    for (let i = 0; i < n / 2; i++) vector[pairOf(i, n, layout)[0]] = 1;
    return vector;
  };

  /** The two channels of pair i. */
  const pairOf = (i, n, layout) => (layout === "halves" ? [i, i + n / 2] : [2 * i, 2 * i + 1]);
  const angle = (place, i, n, theta) => place * theta ** ((-2 * i) / n);

  /** A vector turned to its place, as `rotary` of the lesson does it. */
  function turn(vector, place, theta, layout) {
    const n = vector.length;
    const turned = [...vector];
    for (let i = 0; i < n / 2; i++) {
      const [a, b] = pairOf(i, n, layout);
      const [cos, sin] = [Math.cos(angle(place, i, n, theta)), Math.sin(angle(place, i, n, theta))];
      turned[a] = vector[a] * cos - vector[b] * sin;
      turned[b] = vector[b] * cos + vector[a] * sin;
    }
    return turned;
  }

  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const signed = (value, digits = 2) => value.toFixed(digits).replace("-", "−").replace(/^−(0\.?0*)$/, "$1");
  const LARGEST = 33; // a hand of length 1, in the dial's own units

  /** The end of a hand: the first channel points up, the second to the right, so time runs clockwise. */
  const tip = (first, second) => [50 + LARGEST * second, 50 - LARGEST * first];

  /** One clock: both hands, and faintly where they stood at place 0. */
  function dial(i, hands, before) {
    const lines = [...before.map(([a, b], h) => [a, b, h, 0.3]), ...hands.map(([a, b], h) => [a, b, h, 1])];
    return course.draw("svg", { viewBox: "0 0 100 100", role: "img", class: "rotary-dial", "aria-label": `Pair ${i}: query at ${signed(hands[0][0])} up and ${signed(hands[0][1])} to the right, key at ${signed(hands[1][0])} and ${signed(hands[1][1])}.` },
      course.draw("circle", { cx: 50, cy: 50, r: LARGEST, class: "rotary-rim" }),
      ...lines.flatMap(([a, b, h, opacity]) => {
        const [x, y] = tip(a, b);
        const kind = h ? "second" : "first";
        return [
          course.draw("line", { x1: 50, y1: 50, x2: x.toFixed(2), y2: y.toFixed(2), class: `curve ${kind}`, opacity }),
          course.draw("circle", { cx: x.toFixed(2), cy: y.toFixed(2), r: 3.5, class: `rotary-tip ${kind}`, opacity }),
        ];
      }));
  }

  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [440, 190, 44, 10, 10, 42];

  course.widget("rotary", (place) => {
    const { make, draw } = course;
    const channels = course.choice("Channels of a head", [4, 8, 16].map((n) => [n, String(n)]), update, place.dataset.channels ?? 8);
    const vectors = course.choice("Vectors", Object.entries(VECTORS).map(([name, [text]]) => [name, text]), update, "mixed");
    const theta = course.choice("theta", THETAS, update, 10_000);
    const layout = course.choice("Which channels make a pair", [["halves", "halves: i and i + D/2 (files on the hub)"], ["pairs", "pairs: 2i and 2i + 1 (Meta’s files)"]], update, "halves");
    const query = course.slider("Place of the query", { min: 0, max: FARTHEST, step: 1, value: place.dataset.query ?? 7, change: update });
    const key = course.slider("Place of the key", { min: 0, max: FARTHEST, step: 1, value: place.dataset.key ?? 4, change: update });
    const dials = make("div", { class: "rotary-dials" });
    const says = make("p", { "aria-live": "polite" });
    const table = make("table", { class: "numbers" });
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot" });
    let before = null; // product and places of the last picture, to say what stayed

    function both(by) {
      const step = Math.max(-Math.min(query.value(), key.value()), Math.min(by, FARTHEST - Math.max(query.value(), key.value())));
      query.set(query.value() + step);
      key.set(key.value() + step);
      update();
    }

    function update() {
      const [n, base, how] = [Number(channels.value()), Number(theta.value()), layout.value()];
      const [q, k] = VECTORS[vectors.value()][1](n, how);
      const [at, from] = [query.value(), key.value()];
      const [turnedQ, turnedK] = [turn(q, at, base, how), turn(k, from, base, how)];
      const pairs = Array.from({ length: n / 2 }, (_, i) => pairOf(i, n, how));
      const parts = pairs.map(([a, b]) => turnedQ[a] * turnedK[a] + turnedQ[b] * turnedK[b]);
      const score = dot(turnedQ, turnedK);

      dials.replaceChildren(...pairs.map(([a, b], i) => make("figure", {},
        dial(i, [[turnedQ[a], turnedQ[b]], [turnedK[a], turnedK[b]]], [[q[a], q[b]], [k[a], k[b]]]),
        make("figcaption", {}, `pair ${i}: ${signed(parts[i])}`))));

      const moved = before && before.at - at === before.from - from && before.at !== at && before.rest === `${n} ${base} ${how} ${vectors.value()}`;
      says.textContent = `Query at place ${at}, key at place ${from}: ${Math.abs(at - from)} apart, ` +
        `the product is ${signed(score, 3)}${moved ? `, as it was at ${before.at} and ${before.from}` : ""}.`;
      before = { at, from, rest: `${n} ${base} ${how} ${vectors.value()}` };

      // the product knows the distance only, so a curve over distances is the whole truth
      const curve = Array.from({ length: SPAN + 1 }, (_, d) => dot(turn(q, d, base, how), k));
      const most = Math.max(...curve.map(Math.abs), 1);
      const x = (d) => LEFT + (d / SPAN) * (WIDTH - LEFT - RIGHT);
      const y = (value) => TOP + ((1 - value / most) / 2) * (HEIGHT - TOP - BOTTOM);
      const distance = at - from;
      svg.setAttribute("aria-label", `The product by distance, from ${signed(curve[0])} at 0 over ${signed(curve[1])} at 1, ${signed(curve[10])} at 10 to ${signed(curve[SPAN])} at ${SPAN} places.`);
      svg.replaceChildren(
        ...[-most, 0, most].flatMap((value) => [
          draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }),
          draw("text", { x: LEFT - 6, y: y(value) + 5, "text-anchor": "end" }, signed(value, 1)),
        ]),
        ...[0, 16, 32, 48, 64].map((d) => draw("text", { x: x(d), y: HEIGHT - BOTTOM + 17, "text-anchor": d === SPAN ? "end" : "middle" }, String(d))),
        draw("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "places from the key on to the query"),
        ...(distance >= 0 && distance <= SPAN ? [draw("line", { x1: x(distance), x2: x(distance), y1: TOP, y2: HEIGHT - BOTTOM, class: "mark" })] : []),
        draw("polyline", { class: "curve first", points: curve.map((value, d) => `${x(d).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }));

      const row = (cells, tag = "td") => make("tr", {}, ...cells.map((cell) => make(tag, tag === "th" ? { scope: "col" } : {}, String(cell))));
      table.replaceChildren(make("caption", {}, "The pairs in numbers"),
        row(["Pair", "Channels", "Query, turned", "Key, turned", "Turned for one place", "Adds"], "th"),
        ...pairs.map(([a, b], i) => row([i, `${a} and ${b}`, `${signed(turnedQ[a])}, ${signed(turnedQ[b])}`, `${signed(turnedK[a])}, ${signed(turnedK[b])}`,
          `${((angle(1, i, n, base) * 180) / Math.PI).toPrecision(3)}°`, signed(parts[i], 3)])));
      Object.assign(place.dataset, { score, distance, parts: parts.join(","), turnedQuery: turnedQ.join(","), turnedKey: turnedK.join(",") });
    }

    place.append(query.row, key.row,
      make("div", {}, ...[[1, "Both one place on"], [10, "Both ten on"], [-10, "Both ten back"]].map(([by, text]) => course.button(text, () => both(by)))),
      make("p", { class: "note" }, make("span", { class: "key first" }, "query"), make("span", { class: "key second" }, "key"), "faint: where they point at place 0"),
      dials, says, svg, vectors.row, theta.row, channels.row, layout.row,
      make("details", {}, make("summary", {}, "The pairs in numbers"), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The pairs in numbers" }, table)));
    update();
  });
})();

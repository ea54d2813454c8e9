/* Loss-curve explorer: how the course's small model learned, and what it wrote on the way. (Lesson 07.)

   For tests the place carries data-step, data-train and data-valid (the losses of the chosen point in the
   chosen unit, data-valid empty where none was measured) and data-sample (the step of the story shown). */
"use strict";

(() => {
  const UNITS = {
    nats: ["nats per token", (nats) => nats],
    bits: ["bits per token", (nats) => nats / Math.LN2],
    perplexity: ["perplexity", (nats) => Math.exp(nats)],
    bpb: ["bits per byte", (nats, bytesPerToken) => nats / Math.LN2 / bytesPerToken],
  };
  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [440, 250, 48, 12, 10, 42];
  const digits = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });
  const minutes = (seconds) => (seconds < 120 ? `${Math.round(seconds)} seconds` : seconds < 7200 ? `${Math.round(seconds / 60)} minutes` : `${(seconds / 3600).toFixed(1)} hours`);

  /** Round numbers between two ends, for an axis. */
  function ticks(low, high, logarithmic) {
    if (logarithmic) {
      const all = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) all.push(...[1, 2, 5].map((digit) => Number((digit * 10 ** power).toPrecision(1))));
      const inside = all.filter((value) => value >= low * 0.999 && value <= high * 1.001);
      const tens = inside.filter((value) => Number.isInteger(Math.log10(value)));
      if (inside.length > 2) return inside.length > 7 && tens.length > 1 ? tens : inside;
    } // a short stretch of a logarithmic axis is marked like a linear one
    const rough = (high - low) / 4 || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough);
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
  }

  /** From values to places on an axis. */
  function scale(values, from, to, logarithmic) {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (low === high) [low, high] = [low * 0.9, high * 1.1 || 1];
    const way = logarithmic ? Math.log : (value) => value;
    const place = (value) => from + ((way(value) - way(low)) / (way(high) - way(low))) * (to - from);
    return { place, ticks: ticks(low, high, logarithmic) };
  }

  course.widget("losses", async (place) => {
    const { make, draw } = course;
    const run = await course.data("losses");
    const rows = run.steps.map(([step, tokens, train, valid, seconds]) => ({ step, tokens, train, valid, seconds }));
    const kept = [...new Set(run.samples.map(({ step }) => step))].sort((a, b) => a - b); // steps with stories
    const prompts = [...new Set(run.samples.map(({ prompt }) => prompt))];
    let places = null; // of the points, once drawn

    const unit = course.choice("Loss as", Object.entries(UNITS).map(([key, [name]]) => [key, name]), redraw, "nats");
    const up = course.choice("Upward axis", [["linear", "linear"], ["log", "logarithmic"]], redraw, "linear");
    const across = course.choice("Across axis", [["linear", "linear"], ["log", "logarithmic"]], redraw, "linear");
    const point = course.slider("Point of the curve", { min: 0, max: rows.length - 1, step: 1, value: rows.length - 1, show: (i) => `step ${rows[i].step.toLocaleString("en")}`, change: show });
    const back = course.button("Previous story", () => jump(-1));
    const next = course.button("Next story", () => jump(1));
    const prompt = course.choice("Prompt", prompts.map((text, i) => [i, text]), show, 0);
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot" });
    const says = make("p", { "aria-live": "polite" });
    const storyTitle = make("p", { class: "note" });
    const story = make("blockquote", { class: "story", "aria-live": "polite" });
    const table = make("table", { class: "numbers" });
    svg.addEventListener("click", choose);

    const inUnit = (nats) => (nats === null ? null : UNITS[unit.value()][1](nats, run.bytesPerToken));

    function redraw() {
      const trained = rows.filter((row) => row.train !== null).map((row) => [row.step, inUnit(row.train)]);
      const measured = rows.filter((row) => row.valid !== null).map((row) => [row.step, inUnit(row.valid)]);
      const x = scale(rows.map((row) => Math.max(1, row.step)), LEFT, WIDTH - RIGHT, across.value() === "log");
      const y = scale([...trained, ...measured].map(([, loss]) => loss), HEIGHT - BOTTOM, TOP, up.value() === "log");
      places = { x: x.place, y: y.place };
      const at = ([step, loss]) => `${x.place(Math.max(1, step)).toFixed(1)},${y.place(loss).toFixed(1)}`;
      svg.replaceChildren(
        ...y.ticks.flatMap((value) => [
          draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y.place(value), y2: y.place(value) }),
          draw("text", { x: LEFT - 6, y: y.place(value) + 5, "text-anchor": "end" }, digits(value))]),
        ...x.ticks.map((value) => draw("text", { x: x.place(value), y: HEIGHT - BOTTOM + 18, "text-anchor": x.place(value) > WIDTH - RIGHT - 20 ? "end" : "middle" }, value.toLocaleString("en"))),
        draw("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, `step (upwards: ${UNITS[unit.value()][0]})`),
        draw("polyline", { class: "curve first", points: trained.map(at).join(" ") }),
        draw("polyline", { class: "curve second", points: measured.map(at).join(" ") }),
        draw("line", { class: "mark", y1: TOP, y2: HEIGHT - BOTTOM }),
        draw("circle", { class: "dot", r: 5 }));
      const name = UNITS[unit.value()][0];
      table.replaceChildren(make("caption", {}, `Losses in ${name}`),
        make("tr", {}, ...["Step", "Tokens read", "Time", "Training", "Validation"].map((head) => make("th", { scope: "col" }, head))),
        ...rows.map((row) => make("tr", {}, ...[row.step.toLocaleString("en"), row.tokens.toLocaleString("en"), minutes(row.seconds),
          row.train === null ? "not measured" : digits(inUnit(row.train)), row.valid === null ? "not measured" : digits(inUnit(row.valid))].map((cell) => make("td", {}, cell)))));
      show();
    }

    /** Choose the point that is nearest to a click. */
    function choose(event) {
      const box = svg.getBoundingClientRect();
      const clicked = ((event.clientX - box.left) / box.width) * WIDTH;
      const far = rows.map((row) => Math.abs(places.x(Math.max(1, row.step)) - clicked));
      point.set(far.indexOf(Math.min(...far)));
      show();
    }

    /** The number of the point at a step, or of the last one before it. */
    const pointAt = (step) => Math.max(0, rows.findLastIndex((row) => row.step <= step));
    /** The step of the last story written at or before a point; stories between two points belong to the earlier. */
    const storyAt = (i) => kept.findLast((step) => pointAt(step) <= i);

    function jump(by) {
      const stops = [...new Set(kept.map(pointAt))];
      const i = point.value();
      const there = by > 0 ? stops.find((stop) => stop > i) : stops.findLast((stop) => stop < i);
      if (there !== undefined) point.set(there);
      show();
    }

    function show() {
      const i = point.value();
      const row = rows[i];
      const name = UNITS[unit.value()][0];
      const loss = inUnit(row.train ?? row.valid);
      const [mark, dot] = [svg.querySelector(".mark"), svg.querySelector("circle")];
      const x = places.x(Math.max(1, row.step));
      mark.setAttribute("x1", x);
      mark.setAttribute("x2", x);
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", places.y(loss));
      const parts = [];
      if (row.train !== null) parts.push(`training loss ${digits(inUnit(row.train))}`);
      if (row.valid !== null) parts.push(`validation loss ${digits(inUnit(row.valid))}`);
      says.textContent = `Step ${row.step.toLocaleString("en")}, after ${row.tokens.toLocaleString("en")} tokens and ${minutes(row.seconds)}: ${parts.join(", ")} (${name}).`;
      const ends = rows.filter((one) => one.valid !== null);
      svg.setAttribute("aria-label", `Training and validation loss in ${name} over ${rows.length} points. ` +
        (ends.length ? `Validation goes from ${digits(inUnit(ends[0].valid))} at step ${ends[0].step} to ${digits(inUnit(ends.at(-1).valid))} at step ${ends.at(-1).step}. ` : "") + says.textContent);
      const from = storyAt(i);
      const sample = run.samples.find((one) => one.step === from && one.prompt === prompts[prompt.value()]);
      storyTitle.textContent = from === undefined
        ? `No story was kept before step ${kept[0]?.toLocaleString("en") ?? "the end"}.`
        : `What the model wrote at step ${from.toLocaleString("en")}${from === row.step ? "" : ", the last time that it was asked by then"}:`;
      story.textContent = sample?.text ?? "";
      story.hidden = !sample;
      const stops = kept.map(pointAt);
      back.disabled = !stops.some((stop) => stop < i);
      next.disabled = !stops.some((stop) => stop > i);
      Object.assign(place.dataset, { step: row.step, train: row.train === null ? "" : inUnit(row.train), valid: row.valid === null ? "" : inUnit(row.valid), sample: from ?? "" });
    }

    const { n_layer, n_head, n_embd } = run.model;
    const key = (kind, name) => make("span", { class: `key ${kind}` }, name);
    place.append(
      make("p", { class: "note" }, `The training of the course's own small model: ${n_layer} layers, ${n_head} heads, ${n_embd} channels, ` +
        `${run.result.parameters.toLocaleString("en")} parameters. On the whole held-out text it came to ${digits(run.result.valid_loss)} nats per token, ` +
        `${digits(run.result.bits_per_byte)} bits per byte (${run.bytesPerToken.toFixed(2)} bytes per token).`),
      make("div", { class: "fields" }, unit.row, up.row, across.row),
      make("p", { class: "note" }, key("first", "training"), key("second", "validation")),
      svg, point.row, says, make("div", {}, back, next), prompts.length ? prompt.row : "", storyTitle, story,
      make("details", {}, make("summary", {}, "The curve as a table"),
        make("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "The curve as a table" }, table)));
    redraw();
  });
})();

/* Learning-rate and batch calculator: what a training run is made of and what it costs. (Lessons 07, 14.)

   Options of the place: data-preset, the preset at the start.
   For tests each row of results carries data-key and data-value, and the place data-rate (the learning rate
   of the chosen step) and data-step. */
"use strict";

(() => {
  // [key, label, smallest, largest, whole?]; an empty n_inner means four times n_embd
  const SHAPE = [
    ["n_layer", "Layers", 1, 1000, true],
    ["n_head", "Heads", 1, 1000, true],
    ["n_embd", "Channels", 1, 100_000, true],
    ["n_inner", "MLP width (empty: 4 × channels)", 1, 1_000_000, true],
    ["vocab_size", "Vocabulary", 1, 10_000_000, true],
    ["block_size", "Context, in tokens", 1, 10_000_000, true],
  ];
  const TRAINING = [
    ["batch_size", "Batch, in windows", 1, 1_000_000, true],
    ["accumulation", "Accumulation", 1, 1_000_000, true],
    ["steps", "Steps", 1, 100_000_000, true],
    ["warmup", "Warm-up steps", 0, 100_000_000, true],
    ["peak_lr", "Peak learning rate", 0, 1000, false],
    ["final_lr", "Final learning rate", 0, 1000, false],
  ];
  const MACHINE = [
    ["tflops", "Speed, in TFLOP/s", 1e-6, 1e12, false],
    ["watts", "Power, in watts", 0, 1e12, false],
    ["kwh_price", "Price of a kWh", 0, 1e6, false],
    ["rent", "Rent per hour", 0, 1e9, false],
  ];

  /** Numbers that a GPT of lesson 05 learns; the head shares the token table. */
  function parameters({ n_layer, n_head, n_embd, n_inner, vocab_size, block_size }) {
    const inside = n_head * Math.floor(n_embd / n_head); // width of all heads together
    const inner = n_inner ?? 4 * n_embd;
    const attention = n_embd * 3 * inside + 3 * inside + inside * n_embd + n_embd;
    const mlp = n_embd * inner + inner + inner * n_embd + n_embd;
    const norms = 2 * 2 * n_embd;
    return (vocab_size + block_size) * n_embd + n_layer * (attention + mlp + norms) + 2 * n_embd;
  }

  /** Lesson 07's `learning_rate`: up a line, down half a cosine. */
  function learningRate(step, { steps, warmup, peak_lr, final_lr }) {
    if (step < warmup) return (peak_lr * (step + 1)) / warmup;
    const progress = Math.min(1, (step - warmup + 1) / Math.max(1, steps - warmup));
    return final_lr + (peak_lr - final_lr) * 0.5 * (1 + Math.cos(Math.PI * progress));
  }

  /** Everything that follows from the fields, in plain units. */
  function reckon(v) {
    const count = parameters(v);
    const perStep = v.batch_size * v.accumulation * v.block_size;
    const tokens = v.steps * perStep;
    const weights = 16 * count; // lesson 14: fp32 weight, gradient and AdamW's two moments
    const logits = 2 * 4 * v.batch_size * v.block_size * v.vocab_size; // and their gradient, in fp32
    const flops = 6 * count * tokens;
    const seconds = flops / (v.tflops * 1e12);
    const kwh = (v.watts * seconds) / 3.6e6;
    const cost = kwh * v.kwh_price + (seconds / 3600) * v.rent;
    return { count, perStep, tokens, weights, logits, memory: weights + logits, flops, seconds, kwh, cost };
  }

  const round = (value, digits = 3) => value.toLocaleString("en", { maximumSignificantDigits: digits });
  /** 1234567 as "1.23 million"; very large ones as powers of ten. */
  function amount(value) {
    if (value >= 1e15) return value.toExponential(2).replace(/e\+?(.*)/, " × 10^$1");
    for (const [size, name] of [[1e12, "trillion"], [1e9, "billion"], [1e6, "million"]]) {
      if (value >= size) return `${round(value / size)} ${name}`;
    }
    return round(value);
  }
  function memory(bytes) {
    for (const [size, name] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"]]) if (bytes >= size) return `${round(bytes / size)} ${name}`;
    return `${round(bytes / 1000)} kB`;
  }
  function time(seconds) {
    const units = [[31_557_600, "years"], [86_400, "days"], [3600, "hours"], [60, "minutes"]];
    for (const [size, name] of units) if (seconds >= 2 * size) return `${amount(seconds / size)} ${name}`;
    return `${round(seconds)} seconds`;
  }
  const rateText = (rate) => (rate !== 0 && rate < 1e-4 ? rate.toExponential(3).replace(/\.?0+e/, "e") : Number(rate.toPrecision(4)).toString());
  const whole = (value) => value.toLocaleString("en");

  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [440, 190, 62, 12, 10, 42];

  course.widget("calculator", async (place) => {
    const { make, draw } = course;
    const { presets, machines, gpt3 } = await course.data("calculator");
    const fields = new Map(); // key -> field
    const rules = [...SHAPE, ...TRAINING, ...MACHINE];
    for (const [key, label] of rules) {
      fields.set(key, course.field(label, { inputmode: "decimal", autocomplete: "off", change: () => edited(key) }));
    }
    const preset = course.choice("Preset", [...presets.map(({ name }) => [name, name]), ["own", "my own"]], usePreset, place.dataset.preset ?? "laptop");
    const machine = course.choice("Machine", [...machines.map(({ name, tflops }, i) => [i, `${name}: ${tflops} TFLOP/s`]), ["own", "my own"]], useMachine, 0);
    const origin = make("p", { class: "note" });
    const basis = make("p", { class: "note" });
    const wrong = make("ul", { role: "alert", class: "wrong" });
    const results = make("table", { class: "numbers" });
    const summary = make("p", { "aria-live": "polite" });
    const notes = make("p", { class: "note" });
    const expected = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What the course expects of the preset" });
    const step = course.slider("Step", { min: 0, max: 1, step: 1, value: 0, show: whole, change: showRate });
    const curve = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot" });
    const rateSays = make("p", { "aria-live": "polite" });
    const rates = make("table", { class: "numbers" });
    const answers = make("div", {},
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What this run costs" }, results), notes, expected,
      step.row, rateSays, curve,
      make("details", {}, make("summary", {}, "The schedule as a table"), rates));
    let values = {};

    function usePreset(name) {
      const found = presets.find((one) => one.name === name);
      origin.textContent = found ? `${name}: ${found.origin}.` : "Your own numbers.";
      if (!found) return;
      for (const [key] of [...SHAPE, ...TRAINING]) fields.get(key).input.value = found[key] ?? "";
      expected.replaceChildren(make("table", { class: "numbers" },
        make("caption", {}, `What the course expects of ${name}`),
        make("tr", {}, ...["Machine", "Tokens", "Time", "Memory", "Bits per byte", "How we know"].map((head) => make("th", { scope: "col" }, head))),
        ...found.expect.map((e) => make("tr", {}, ...[e.hardware, amount(e.tokens), time(e.hours * 3600), `${e.memory_gb} GB`, e.bits_per_byte, e.basis].map((cell) => make("td", {}, String(cell)))))));
      expected.hidden = false;
      update();
    }

    function useMachine(index) {
      const found = machines[index];
      basis.textContent = found ? `Speed: ${found.basis}. Power and prices are only for an estimate; change them.` : "Your own machine.";
      if (!found) return;
      fields.get("tflops").input.value = found.tflops;
      fields.get("watts").input.value = found.watts;
      update();
    }

    function edited(key) {
      const owned = MACHINE.some(([name]) => name === key);
      if (!owned) { preset.input.value = "own"; origin.textContent = "Your own numbers."; expected.hidden = true; }
      else if (key === "tflops" || key === "watts") { machine.input.value = "own"; basis.textContent = "Your own machine."; }
      update();
    }

    /** Read all fields; returns what is wrong with them, in sentences. */
    function readAll() {
      const complaints = [];
      values = {};
      for (const [key, label, smallest, largest, isWhole] of rules) {
        const { input } = fields.get(key);
        const short = label.replace(/ \(.*/, "");
        const found = key === "n_inner" && !input.value.trim() ? null : course.number(input.value, short, { min: smallest, max: largest, whole: isWhole });
        let problem = typeof found === "string" ? found : "";
        if (!problem && key === "peak_lr" && found === 0) problem = "Peak learning rate must be above 0: nothing would be learned.";
        if (!problem && key === "final_lr" && found > values.peak_lr) problem = "Final learning rate must not be above the peak.";
        if (problem) { complaints.push(problem); input.setAttribute("aria-invalid", "true"); }
        else { values[key] = found; input.removeAttribute("aria-invalid"); }
      }
      if (values.n_head > values.n_embd) complaints.push(`${whole(values.n_head)} heads are too many for ${whole(values.n_embd)} channels.`);
      return complaints;
    }

    function update() {
      const complaints = readAll();
      wrong.replaceChildren(...complaints.map((sentence) => make("li", {}, sentence)));
      answers.hidden = summary.hidden = complaints.length > 0;
      place.dataset.valid = complaints.length ? "no" : "yes";
      if (complaints.length) return;
      const r = reckon(values);
      const rows = [
        ["parameters", "Parameters", r.count, `${whole(r.count)} (${amount(r.count)})`, gpt3.parameters, amount(gpt3.parameters)],
        ["tokens_per_step", "Tokens per step", r.perStep, whole(r.perStep), gpt3.tokens_per_step, amount(gpt3.tokens_per_step)],
        ["tokens", "Tokens in all", r.tokens, `${whole(r.tokens)} (${amount(r.tokens)})`, gpt3.tokens, amount(gpt3.tokens)],
        ["tokens_per_parameter", "Tokens per parameter", r.tokens / r.count, round(r.tokens / r.count), gpt3.tokens / gpt3.parameters, round(gpt3.tokens / gpt3.parameters)],
        ["memory", "Memory, at least", r.memory, memory(r.memory), 16 * gpt3.parameters, `${memory(16 * gpt3.parameters)} for its weights alone`],
        ["flops", "Operations (FLOPs)", r.flops, amount(r.flops), gpt3.flops, amount(gpt3.flops)],
        ["seconds", "Time", r.seconds, time(r.seconds), gpt3.flops / (values.tflops * 1e12), `${time(gpt3.flops / (values.tflops * 1e12))} on this machine`],
        ["kwh", "Energy", r.kwh, `${amount(r.kwh)} kWh`, (values.watts * gpt3.flops) / (values.tflops * 3.6e18), `${amount((values.watts * gpt3.flops) / (values.tflops * 3.6e18))} kWh on this machine`],
        ["cost", "Cost", r.cost, amount(r.cost), "", ""],
      ];
      results.replaceChildren(make("caption", {}, "What this run costs"),
        make("tr", {}, ...["Measure", "This run", "GPT-3"].map((head) => make("th", { scope: "col" }, head))),
        ...rows.map(([key, label, value, shown, theirs, their]) => make("tr", { "data-key": key, "data-value": value, "data-gpt3": theirs },
          make("th", { scope: "row" }, label), make("td", {}, shown), make("td", {}, their))));
      const share = gpt3.flops / r.flops;
      summary.textContent = `${amount(r.count)} parameters read ${amount(r.tokens)} tokens in ${time(r.seconds)}. ` +
        (share >= 1 ? `Training GPT-3 took ${amount(share)} times as much arithmetic.` : `That is ${amount(1 / share)} times the arithmetic of GPT-3's training.`);
      const inside = values.n_head * Math.floor(values.n_embd / values.n_head);
      notes.textContent = `Memory: ${memory(r.weights)} for weights, gradients and AdamW's two moments (16 bytes per parameter) and ${memory(r.logits)} for the ` +
        "logits of one micro-batch with their gradient; what the layers keep for the way back comes on top. Operations: 6 × parameters × tokens (Kaplan et al. 2020), which leaves out what attention adds in long contexts. " +
        "Hoffmann et al. (2022) advise about 20 tokens per parameter." +
        (inside < values.n_embd ? ` ${values.n_head} heads do not divide ${values.n_embd} channels; together they are ${inside} wide.` : "") +
        (values.warmup >= values.steps ? " The warm-up is as long as the run: the peak is reached at its end or never." : "");
      drawCurve();
    }

    function drawCurve() {
      const { steps, peak_lr } = values;
      step.input.max = steps - 1;
      step.set(Math.min(step.value(), steps - 1));
      const x = (at) => LEFT + (steps > 1 ? at / (steps - 1) : 0) * (WIDTH - LEFT - RIGHT);
      const y = (rate) => HEIGHT - BOTTOM - (rate / peak_lr) * (HEIGHT - TOP - BOTTOM);
      const marks = new Set(Array.from({ length: 201 }, (_, i) => Math.round((i / 200) * (steps - 1))));
      for (const at of [values.warmup - 1, values.warmup]) if (at >= 0 && at < steps) marks.add(at);
      const points = [...marks].sort((a, b) => a - b).map((at) => `${x(at).toFixed(1)},${y(learningRate(at, values)).toFixed(1)}`);
      curve.replaceChildren(
        ...[0, 0.5, 1].flatMap((share) => [
          draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(share * peak_lr), y2: y(share * peak_lr) }),
          draw("text", { x: LEFT - 6, y: y(share * peak_lr) + 5, "text-anchor": "end" }, rateText(Number((share * peak_lr).toPrecision(2))))]),
        draw("text", { x: LEFT, y: HEIGHT - BOTTOM + 17 }, "0"),
        draw("text", { x: WIDTH - RIGHT, y: HEIGHT - BOTTOM + 17, "text-anchor": "end" }, whole(steps - 1)),
        draw("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, "step (upwards: learning rate)"),
        draw("polyline", { class: "curve first", points: points.join(" ") }),
        draw("circle", { class: "dot", r: 5 }));
      const here = [0, values.warmup - 1, ...[0.25, 0.5, 0.75].map((share) => Math.round(share * (steps - 1))), steps - 1];
      const shown = [...new Set(here)].filter((at) => at >= 0 && at < steps).sort((a, b) => a - b);
      rates.replaceChildren(make("caption", {}, "Learning rate"), make("tr", {}, make("th", { scope: "col" }, "Step"), make("th", { scope: "col" }, "Learning rate")),
        ...shown.map((at) => make("tr", {}, make("td", {}, whole(at)), make("td", {}, rateText(learningRate(at, values))))));
      showRate();
    }

    function showRate() {
      const at = step.value();
      const rate = learningRate(at, values);
      const dot = curve.querySelector("circle");
      dot.setAttribute("cx", LEFT + (values.steps > 1 ? at / (values.steps - 1) : 0) * (WIDTH - LEFT - RIGHT));
      dot.setAttribute("cy", HEIGHT - BOTTOM - (rate / values.peak_lr) * (HEIGHT - TOP - BOTTOM));
      const part = at < values.warmup ? "in the warm-up, on the line" : "after the warm-up, on the cosine";
      rateSays.textContent = `Step ${whole(at)} of 0 to ${whole(values.steps - 1)}, ${part}: learning rate ${rateText(rate)}.`;
      curve.setAttribute("aria-label", `Learning rate over the steps: it climbs for ${whole(values.warmup)} steps to ${values.peak_lr} and falls along half a cosine to ${values.final_lr}.`);
      Object.assign(place.dataset, { step: at, rate });
    }

    const group = (legend, first, rules) => make("fieldset", {}, make("legend", {}, legend), ...first,
      make("div", { class: "fields" }, ...rules.map(([key]) => fields.get(key).row)));
    place.append(preset.row, origin, summary,
      make("details", { open: true }, make("summary", {}, "The numbers"), group("Shape", [], SHAPE), group("Training", [], TRAINING), group("Machine", [machine.row, basis], MACHINE)),
      wrong, answers);
    fields.get("kwh_price").input.value = 0.3;
    fields.get("rent").input.value = 0;
    usePreset(preset.value());
    useMachine(0);
  });
})();

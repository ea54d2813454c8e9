/* Direct preference optimisation (lesson 12): two answers to one prompt, how probable each is under the
   policy and under the reference, beta and label smoothing; what the loss says, and where it pushes. */
"use strict";

course.widget("preference", (place) => {
  const { make, draw, slider, choice, button } = course;
  const shown = (v, digits = 2) => v.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "\u2212");
  const signed = (v, digits = 2) => (v > 0 ? "+" : "") + shown(v, digits);
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  // log(sigmoid(x)); for x far below 0 the plain form would take the logarithm of 0
  const logSigmoid = (x) => Math.min(0, x) - Math.log1p(Math.exp(-Math.abs(x)));

  const ANSWERS = [
    ["happy", "It came safely to the other side, and Mia laughed."],
    ["sad", "It sank, and Mia cried."],
  ];
  const LOW = -40, HIGH = 0;
  const beginning = { policy: [-14, -11], reference: [-14, -11] };

  const level = (who, i) => slider(`${who === "policy" ? "policy" : "reference"}: log p of the ${ANSWERS[i][0]} one`, {
    min: LOW, max: HIGH, step: 0.1, value: beginning[who][i], show: (v) => shown(v, 1), change: update,
  });
  const policy = [level("policy", 0), level("policy", 1)];
  const reference = [level("reference", 0), level("reference", 1)];
  const better = choice("people prefer", ANSWERS.map(([name], i) => [i, `the ${name} one`]), update, 0);
  const against = choice("compared with", [["yes", "the reference"], ["no", "nothing (reference-free)"]], update, "yes");
  const beta = slider("beta", { min: 0.05, max: 1, step: 0.05, value: 0.1, show: (v) => shown(v), change: update });
  const smoothing = slider("label smoothing", { min: 0, max: 0.5, step: 0.05, value: 0, show: (v) => shown(v), change: update });
  const buttons = make("div", { class: "control" },
    button("One step", () => step(1)), button("Ten steps", () => step(10)), button("Begin again", reset));

  const bars = draw("svg", { viewBox: "0 0 340 122", width: 520, "aria-hidden": "true" });
  const curve = draw("svg", { viewBox: "0 0 340 176", width: 520, "aria-hidden": "true" });
  const rows = make("tbody");
  const table = make("table", {},
    make("caption", {}, "From log-probabilities to the loss"),
    make("thead", {}, make("tr", {}, ...["answer", "policy", "reference", "gained", "pushed by"].map(
      (text) => make("th", { scope: "col" }, text)))),
    rows);
  const says = make("p", { "aria-live": "polite" });
  const group = (legend, ...inside) => make("fieldset", {}, make("legend", {}, legend), ...inside);
  place.append(
    make("p", {}, "Prompt: \u201cMia made a little boat out of paper and let it go.\u201d"),
    make("ul", {}, ...ANSWERS.map(([name, text]) => make("li", {}, make("strong", {}, `${name}: `), text))),
    group("The model that learns (the policy)", ...policy.map((each) => each.row), buttons),
    bars, says,
    group("The loss", better.row, beta.row, smoothing.row),
    curve,
    group("The reference: the model from which it began", ...reference.map((each) => each.row), against.row),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table from log-probabilities to the loss" }, table));
  update();

  /** Everything that follows from the controls. */
  function now() {
    const chosen = Number(better.value()), rejected = 1 - chosen;
    const free = against.value() === "no";
    const gained = policy.map((each, i) => each.value() - (free ? 0 : reference[i].value()));
    const margin = gained[chosen] - gained[rejected];
    const b = beta.value(), s = smoothing.value();
    const loss = -(1 - s) * logSigmoid(b * margin) - s * logSigmoid(-b * margin);
    // minus the derivative of the loss by the policy's log-probability of the chosen answer
    const push = b * ((1 - s) * sigmoid(-b * margin) - s * sigmoid(b * margin));
    return { chosen, rejected, free, gained, margin, b, s, loss, push, probability: sigmoid(b * margin) };
  }

  /** Move both log-probabilities along the push, as a step of training would like to. */
  function step(count) {
    for (let i = 0; i < count; i++) {
      const { chosen, rejected, push } = now();
      const move = 10 * push; // a large learning rate: one sees it move
      policy[chosen].set(limit(policy[chosen].value() + move));
      policy[rejected].set(limit(policy[rejected].value() - move));
    }
    update();
  }
  function limit(v) { return Math.min(HIGH, Math.max(LOW, v)); }
  function reset() {
    policy.forEach((each, i) => each.set(beginning.policy[i]));
    reference.forEach((each, i) => each.set(beginning.reference[i]));
    update();
  }

  function update() {
    const { chosen, rejected, free, gained, margin, b, s, loss, push, probability } = now();
    const X = (v) => 76 + (v - LOW) / (HIGH - LOW) * 210;
    bars.replaceChildren(...ANSWERS.flatMap(([name], i) => {
      const y = 18 + i * 52;
      const bar = (top, value, colour, dashed) => [
        draw("rect", { x: 76, y: top, width: X(value) - 76, height: 17, style: `fill:${colour};fill-opacity:${dashed ? 0.35 : 1};stroke:${colour};stroke-dasharray:${dashed ? "4 3" : "none"}` }),
        draw("text", { x: 294, y: top + 13, "font-size": 12 }, shown(value, 1)),
      ];
      const colour = i === chosen ? "var(--course-blue)" : "var(--course-orange)";
      return [
        draw("text", { x: 0, y: y + 13, "font-size": 13, "font-weight": i === chosen ? 700 : 400 }, name + (i === chosen ? " \u2713" : "")),
        ...bar(y, policy[i].value(), colour, false),
        ...(free ? [] : bar(y + 20, reference[i].value(), colour, true)),
      ];
    }), draw("text", { x: 76, y: 11, "font-size": 11 }, "longer is more probable; dashed: the reference"));

    // The loss over the margin, with a dot where we are.
    const range = Math.max(20, 1.15 * Math.abs(margin));
    const at = (m) => -(1 - s) * logSigmoid(b * m) - s * logSigmoid(-b * m);
    const top = Math.max(1, at(-range), at(range));
    const PX = (m) => 170 + m / range * 150, PY = (l) => 146 - l / top * 126;
    const points = Array.from({ length: 121 }, (_, i) => -range + i * range / 60);
    curve.replaceChildren(
      draw("path", { d: `M20 ${PY(0)}H320M170 20V146`, style: "fill:none;stroke:currentColor;stroke-opacity:.5" }),
      draw("path", { d: points.map((m, i) => `${i ? "L" : "M"}${PX(m).toFixed(1)} ${PY(at(m)).toFixed(1)}`).join(""), style: "fill:none;stroke:var(--course-blue);stroke-width:2.5" }),
      draw("circle", { cx: PX(margin), cy: PY(loss), r: 6, class: "dot" }),
      draw("text", { x: 20, y: 162, "font-size": 12 }, shown(-range, 0)),
      draw("text", { x: 320, y: 162, "font-size": 12, "text-anchor": "end" }, shown(range, 0)),
      draw("text", { x: 170, y: 174, "font-size": 12, "text-anchor": "middle" }, "margin (nats)"),
      draw("text", { x: 24, y: 14, "font-size": 12 }, `loss, up to ${shown(top, 1)}`));

    rows.replaceChildren(...ANSWERS.map(([name], i) => make("tr", {},
      make("th", { scope: "row" }, name),
      ...[shown(policy[i].value(), 1), free ? "\u2013" : shown(reference[i].value(), 1), signed(gained[i], 1), signed(i === chosen ? push : -push, 4)].map(
        (text) => make("td", {}, text)))));
    const ahead = policy[chosen].value() > policy[rejected].value();
    const fell = !free && gained[chosen] < 0 && margin > 0
      ? ` Mind: the ${ANSWERS[chosen][0]} answer itself is less probable than it was. Only the difference counts.` : "";
    const wanted = push < -1e-9 ? " The margin is so large that the smoothing pushes it back." : "";
    says.textContent = `Margin ${signed(margin, 1)} nats, times beta ${signed(b * margin)}: the pair stands the right way round with probability `
      + `${shown(probability, 3)}, the loss is ${shown(loss, 3)}. By itself the ${ANSWERS[chosen][0]} answer is ${ahead ? "" : "not "}the more probable one.${fell}${wanted}`;
    Object.assign(place.dataset, {
      policy: policy.map((each) => each.value()).join(" "), reference: reference.map((each) => each.value()).join(" "),
      margin, probability, loss, push,
    });
  }
});

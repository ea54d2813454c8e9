/* Softmax and surprise (lesson 00): three logits on sliders, the shares that softmax makes of them, and
   the cross-entropy if the chosen token came. A fourth slider adds one number to all logits. */
"use strict";

course.widget("softmax", (place) => {
  const { make, draw, slider, choice } = course;
  const tokens = ["cat", "dog", "owl"];
  const colours = ["var(--course-blue)", "var(--course-orange)", "var(--course-green)"];
  const first = [2, 1, -1];

  const sliders = tokens.map((token, i) => slider(`logit of ${token}`, {
    min: -5, max: 5, step: 0.1, value: first[i], show: (z) => signed(z, 1), change: update,
  }));
  const added = slider("added to all three", {
    min: -100, max: 100, step: 1, value: 0, show: (z) => signed(z, 0), change: update,
  });
  const came = choice("what really came", tokens.map((token, i) => [i, token]), update, 0);

  // The picture says nothing that the table does not: screen readers get the table.
  const bars = draw("svg", { viewBox: "0 0 340 108", width: 480, "aria-hidden": "true" });
  const rows = make("tbody");
  const table = make("table", {},
    make("caption", {}, "From logits to shares"),
    make("thead", {}, make("tr", {}, ...["token", "logit", "minus the largest", "exp of that", "share"].map(
      (text) => make("th", { scope: "col" }, text)))),
    rows);
  const says = make("p", { "aria-live": "polite", class: "softmax-says" });
  place.append(
    ...sliders.map((each) => each.row), added.row, came.row,
    bars, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table from logits to shares" }, table), says,
  );
  update();

  function signed(z, digits) { return z.toFixed(digits).replace("-", "\u2212"); }

  function update() {
    const logits = sliders.map((each) => each.value() + added.value());
    // exp(100) is still a number, exp(1000) is not: so the largest is subtracted, as in the lesson
    const largest = Math.max(...logits);
    const powers = logits.map((z) => Math.exp(z - largest));
    const sum = powers.reduce((a, b) => a + b, 0);
    const shares = powers.map((power) => power / sum);
    const target = Number(came.value());
    const nats = Math.log(sum) - (logits[target] - largest);
    const bits = nats / Math.LN2;

    bars.replaceChildren(...tokens.flatMap((token, i) => {
      const y = 6 + i * 34;
      const width = 220 * shares[i];
      return [
        draw("text", { x: 0, y: y + 18, "font-size": 14, "font-weight": i === target ? 700 : 400 }, token),
        draw("rect", { x: 44, y, width: 220, height: 26, fill: "none", stroke: "var(--course-line)" }),
        draw("rect", { x: 44, y, width, height: 26, style: `fill:${colours[i]}` }),
        draw("text", { x: 272, y: y + 18, "font-size": 14 }, shares[i].toFixed(3)),
      ];
    }));
    rows.replaceChildren(...tokens.map((token, i) => make("tr", {},
      make("th", { scope: "row" }, token),
      ...[signed(logits[i], 1), signed(logits[i] - largest, 1), powers[i].toFixed(4), shares[i].toFixed(4)].map(
        (text) => make("td", {}, text)))));
    const shift = added.value() === 0 ? "" :
      ` ${signed(added.value(), 0)} was added to all three logits, and the shares are the same as without it.`;
    says.textContent = `The shares sum to ${shares.reduce((a, b) => a + b, 0).toFixed(3)}. `
      + `If ${tokens[target]} came: surprise \u2212ln ${shares[target].toFixed(4)} = ${nats.toFixed(3)} nats, `
      + `or ${bits.toFixed(3)} bits.${shift}`;
    Object.assign(place.dataset, { shares: shares.join(" "), nats, bits });
  }
});

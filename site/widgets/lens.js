/* The stepper of lesson 05: the stream on its way through the model, and what the model would say if
   it had to stop there (the logit lens).

   data/lens.js holds, for each prompt, steps[stage][place] = [norm, norm of what was added, entropy in
   nats, the likeliest tokens, their probabilities, and, where the prompt goes on, the probability and
   the rank of the token that really follows].
   Options: data-prompt, data-stage, data-place. */
"use strict";

course.widget("lens", async (place) => {
  const { make, visible } = course;
  const { stages, vocabulary, prompts } = await course.data("lens");
  const chosen = {
    prompt: Number(place.dataset.prompt ?? 0),
    stage: Number(place.dataset.stage ?? 0),
    place: Number(place.dataset.place ?? -1), // -1: the last
  };
  const last = stages.length - 1;
  const percent = (p) => (p < 0.0005 ? "under 0.1 %" : `${(100 * p).toFixed(1)} %`);
  const quoted = (token) => `“${visible(token)}”`;

  /** "attention 2" in words. */
  function told(stage) {
    const [part, layer] = stages[stage].split(" ");
    if (layer === undefined) return "the embedding: token plus position, before any block";
    const end = stage === last ? ", the end: this is the model's answer" : "";
    return `${part === "MLP" ? "the MLP" : "the attention"} of block ${layer}${end}`;
  }

  const whichPrompt = course.choice("Text", prompts.map((prompt, i) => [i, prompt.tokens.join("")]),
    (i) => { chosen.prompt = Number(i); newPrompt(); }, chosen.prompt);
  const tokens = make("div");
  const slider = course.slider("Stage", {
    min: 0, max: last, step: 1, value: chosen.stage, show: (stage) => stages[stage], change: go,
  });
  const back = course.button("One part back", () => go(chosen.stage - 1));
  const on = course.button("One part on", () => go(chosen.stage + 1));
  const sentence = make("p", { class: "lens-sentence", "aria-live": "polite" });
  const guesses = make("tbody"), way = make("tbody");
  const heads = (...names) => make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
  place.append(
    whichPrompt.row,
    make("p", { class: "note" }, "The stream at which token? (␣ is a space, ↵ the end of a line)"),
    tokens, slider.row, make("div", {}, back, on), sentence,
    make("div", { class: "lens-tables" },
      make("div", { class: "lens-guesses" }, make("table", { class: "lens-table" },
        make("caption", {}, "What would come next, if the model stopped here"), heads("token", "probability"), guesses)),
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The whole way of this token" }, make("table", { class: "lens-table lens-way" }, make("caption", {}, "The whole way of this token"),
        heads("after", "norm", "entropy", "says", "how sure"), way))),
    make("p", { class: "note" }, `Entropy in nats: 0 is certain, ${Math.log(vocabulary).toFixed(2)} would be no idea at all among ${vocabulary.toLocaleString("en")} tokens.`),
  );

  let row;

  function newPrompt() {
    const n = prompts[chosen.prompt].tokens.length;
    if (!(chosen.place >= 0 && chosen.place < n)) chosen.place = n - 1;
    row = course.tokenRow("Tokens of the text", prompts[chosen.prompt].tokens, (i) => { chosen.place = i; show(); });
    tokens.replaceChildren(row.row);
    show();
  }

  function go(stage) {
    chosen.stage = Math.min(last, Math.max(0, stage));
    slider.set(chosen.stage);
    show();
  }

  function show() {
    const prompt = prompts[chosen.prompt], at = chosen.place;
    const [norm, added, entropy, words, probabilities, chance, rank] = prompt.steps[chosen.stage][at];
    row.press(at);
    back.disabled = chosen.stage === 0;
    on.disabled = chosen.stage === last;

    const next = chance === undefined ? "" :
      ` In the text ${quoted(prompt.tokens[at + 1])} follows: here its probability is ${percent(chance)}, rank ${rank.toLocaleString("en")} of ${vocabulary.toLocaleString("en")}.`;
    const grown = chosen.stage === 0 ? "" : ` What this part added has the length ${added.toFixed(2)}.`;
    sentence.textContent = `After ${told(chosen.stage)}. The stream at ${quoted(prompt.tokens[at])} is a vector of length (norm) ${norm.toFixed(2)}.${grown} Stopping here, the model would say ${quoted(words[0])} (${percent(probabilities[0])}); its entropy is ${entropy.toFixed(2)} nats.${next}`;

    guesses.replaceChildren(...words.map((word, i) => {
      const bar = make("span", { class: "widget-bar" });
      bar.style.width = `${100 * probabilities[i]}%`;
      return make("tr", { "data-token": word, "data-probability": probabilities[i] },
        make("th", { scope: "row" }, visible(word)),
        make("td", { class: "widget-bar-cell" }, make("span", { class: "widget-bar-room" }, bar), percent(probabilities[i])));
    }));
    way.replaceChildren(...stages.map((name, stage) => {
      const [norm, , entropy, words, probabilities] = prompt.steps[stage][at];
      return make("tr", { "aria-current": stage === chosen.stage ? "step" : false, "data-stage": stage },
        make("th", { scope: "row" }, name), make("td", {}, norm.toFixed(2)), make("td", {}, entropy.toFixed(2)),
        make("td", {}, visible(words[0])), make("td", {}, percent(probabilities[0])));
    }));
    Object.assign(place.dataset, { shownStage: chosen.stage, shownPlace: at, norm, added, entropy, chance: chance ?? "", rank: rank ?? "" });
  }

  newPrompt();
});

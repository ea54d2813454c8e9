/* The attention explorer of lesson 03: whom does a token look at, in which layer, in which head?

   The weights in data/attention.js are those of a real model, in thousandths, and of each table only
   the part that is not masked: row after row, and of row i the first i + 1.
   Options: data-sentence, data-layer, data-head ("average" or a number), data-token. */
"use strict";

course.widget("attention", async (place) => {
  const { make, draw, visible } = course;
  const { layers, heads, sentences } = await course.data("attention");
  const chosen = {
    sentence: Number(place.dataset.sentence ?? 0),
    layer: Number(place.dataset.layer ?? 0),
    head: place.dataset.head ?? "0",
    token: Number(place.dataset.token ?? -1), // -1: the last
  };
  const sentence = () => sentences[chosen.sentence];

  /** How strongly token i looks at token j, 0 to 1. */
  function weightIn(layer, head, i, j) {
    return j > i ? 0 : sentence().weights[layer][head][(i * (i + 1)) / 2 + j] / 1000;
  }
  function weight(i, j) {
    if (chosen.head !== "average") return weightIn(chosen.layer, Number(chosen.head), i, j);
    let sum = 0;
    for (let head = 0; head < heads; head++) sum += weightIn(chosen.layer, head, i, j);
    return sum / heads;
  }
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const headName = () => chosen.head === "average" ? `the average of ${heads} heads` : `head ${chosen.head}`;

  // Controls. A picture of every head, side by side, is a button too.
  const choices = (n) => [...Array(n).keys()].map((i) => [i, String(i)]);
  const texts = sentences.map((one, i) => [i, one.tokens.join("")]);
  const whichSentence = course.choice("Sentence", texts, (i) => { chosen.sentence = Number(i); newSentence(); }, chosen.sentence);
  const whichLayer = course.choice("Layer", choices(layers), (i) => { chosen.layer = Number(i); show(); }, chosen.layer);
  const whichHead = course.choice("Head", [...choices(heads), ["average", "average of all heads"]],
    (head) => { chosen.head = head; show(); }, chosen.head);

  const tokens = make("div");
  const result = make("p", { class: "attention-result", "aria-live": "polite" });
  const lines = make("div"), map = make("div"), overview = make("div", { class: "attention-overview", role: "group", "aria-label": "All heads" });
  const table = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "All weights as numbers" });
  const numbers = make("details", { ontoggle: () => showNumbers() },
    make("summary", {}, "All weights of this head as numbers"), table);
  const part = (title, ...content) => make("div", { class: "attention-part" }, make("p", { class: "attention-title" }, title), ...content);
  place.append(
    whichSentence.row, whichLayer.row, whichHead.row,
    make("p", { class: "note" }, "Point at a token, or go to it with Tab and the arrow keys (␣ is a space):"),
    tokens, result,
    make("div", { class: "attention-pictures" },
      part("Whom it looks at", lines), part("All tokens: a row looks at columns", map)),
    part(`All heads: ${layers} layers (down) of ${heads} heads (across)`, overview),
    numbers,
  );

  let row, rowLines, thumbnails;

  /** Lines from the chosen token to all that it may see, as thick as its weights; bars behind these. */
  function drawLines() {
    const words = sentence().tokens.map(visible);
    const line = 22, height = line * words.length + 6, middle = (i) => line * i + 15;
    const picture = draw("svg", { viewBox: `0 0 360 ${height}`, width: 318, role: "img" });
    words.forEach((word, i) => {
      const name = draw("text", { x: 112, y: middle(i) + 4, "text-anchor": "end", class: "attention-from", "data-token": i }, word);
      name.addEventListener("pointerenter", () => choose(i));
      picture.append(name);
    });
    rowLines = words.map((word, j) => {
      const bar = draw("rect", { x: 212, y: middle(j) - 9, height: 18, class: "attention-bar" });
      const link = draw("path", { class: "attention-line" });
      const share = draw("text", { x: 356, y: middle(j) + 4, "text-anchor": "end", class: "attention-share" });
      const name = draw("text", { x: 216, y: middle(j) + 4 }, word);
      picture.append(bar, link, name, share);
      return { bar, link, share, name };
    });
    lines.replaceChildren(picture);
    return { picture, middle };
  }

  /** The whole table as shades; the row of the chosen token has a frame. */
  function drawMap() {
    const words = sentence().tokens.map(visible), n = words.length;
    const left = 84, top = 76, cell = (356 - left) / n;
    const picture = draw("svg", { viewBox: `0 0 360 ${top + cell * n + 4}`, width: 318, role: "img" });
    const cut = (word) => (word.length > 10 ? `${word.slice(0, 9)}…` : word);
    words.forEach((word, i) => {
      const x = left + cell * (i + 0.5) + 4;
      picture.append(
        draw("text", { x: left - 5, y: top + cell * (i + 0.5) + 4, "text-anchor": "end", class: "attention-small" }, cut(word)),
        draw("text", { x, y: top - 6, transform: `rotate(-60 ${x} ${top - 6})`, class: "attention-small" }, cut(word)),
      );
    });
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        const title = draw("title");
        const box = draw("rect", { x: left + cell * j, y: top + cell * i, width: cell, height: cell, class: "attention-cell", "data-query": i, "data-key": j }, title);
        box.addEventListener("pointerenter", () => choose(i));
        picture.append(box);
      }
    }
    const frame = draw("rect", { x: left, height: cell, class: "attention-frame" });
    picture.append(frame);
    map.replaceChildren(picture);
    return { picture, frame, words, left, top, cell };
  }

  /** A small picture of each head, to find the interesting ones. */
  function drawOverview() {
    const n = sentence().tokens.length;
    thumbnails = [];
    overview.style.gridTemplateColumns = `repeat(${heads}, minmax(0, 4rem))`;
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        const canvas = make("canvas", { width: n, height: n, "aria-hidden": "true" });
        const pixels = new ImageData(n, n);
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < n; j++) {
            // a blue that shows on white and on dark alike, as opaque as the weight
            pixels.data.set([47, 134, 196, 255 * weightIn(layer, head, i, j)], 4 * (n * i + j));
          }
        }
        canvas.getContext("2d").putImageData(pixels, 0, 0);
        const one = make("button", { type: "button", class: "attention-head", "aria-label": `layer ${layer}, head ${head}`, onclick: () => {
          chosen.layer = layer;
          chosen.head = String(head);
          whichLayer.input.value = layer;
          whichHead.input.value = head;
          show();
        } }, canvas);
        thumbnails.push({ one, layer, head });
      }
    }
    overview.replaceChildren(...thumbnails.map(({ one }) => one));
  }

  let linePicture, mapPicture;

  function newSentence() {
    const n = sentence().tokens.length;
    if (!(chosen.token >= 0 && chosen.token < n)) chosen.token = n - 1;
    row = course.tokenRow("Tokens of the sentence", sentence().tokens, choose, { hover: true });
    tokens.replaceChildren(row.row);
    linePicture = drawLines();
    mapPicture = drawMap();
    drawOverview();
    show();
  }

  /** After a change of layer or head: new shades everywhere. */
  function show() {
    const { picture, words } = mapPicture;
    for (const box of picture.querySelectorAll("[data-key]")) {
      const i = Number(box.dataset.query), j = Number(box.dataset.key), share = weight(i, j);
      box.setAttribute("fill-opacity", share.toFixed(3));
      box.dataset.weight = share.toFixed(4);
      box.firstChild.textContent = `${words[i]} looks at ${words[j]}: ${percent(share)}`;
    }
    picture.setAttribute("aria-label", `Heat map of layer ${chosen.layer}, ${headName()}: a row for each token, as dark as it looks at the token of the column. The table below has the numbers.`);
    for (const { one, layer, head } of thumbnails) {
      one.setAttribute("aria-pressed", layer === chosen.layer && (chosen.head === "average" || Number(chosen.head) === head));
    }
    showNumbers();
    choose(chosen.token);
  }

  /** After a change of token: its lines, its row, the sentence in words. */
  function choose(i) {
    chosen.token = i;
    row.press(i);
    const { picture, middle } = linePicture;
    const words = sentence().tokens.map(visible);
    picture.querySelectorAll(".attention-from").forEach((name, k) => name.classList.toggle("chosen", k === i));
    rowLines.forEach(({ bar, link, share, name }, j) => {
      const w = weight(i, j), seen = j <= i;
      bar.setAttribute("width", (144 * w).toFixed(1));
      bar.dataset.key = j;
      bar.dataset.weight = w.toFixed(4);
      link.setAttribute("d", seen ? `M118 ${middle(i)} C160 ${middle(i)} 165 ${middle(j)} 206 ${middle(j)}` : "");
      link.setAttribute("stroke-width", (0.4 + 9 * w).toFixed(2));
      link.setAttribute("stroke-opacity", (0.25 + 0.75 * w).toFixed(2));
      share.textContent = seen ? percent(w) : "hidden";
      for (const text of [share, name]) text.classList.toggle("attention-hidden", !seen);
    });
    picture.setAttribute("aria-label", `Lines from ${words[i]} to the tokens that it looks at, as thick as the weights.`);
    const { frame, cell, top } = mapPicture;
    frame.setAttribute("y", top + cell * i);
    frame.setAttribute("width", cell * (i + 1));
    const best = words.map((word, j) => [j === i ? "itself" : `“${word}”`, weight(i, j), j])
      .filter(([, , j]) => j <= i).sort((a, b) => b[1] - a[1]).slice(0, 3);
    result.textContent = `Layer ${chosen.layer}, ${headName()}: “${words[i]}” looks at ${best.map(([word, w]) => `${word} (${percent(w)})`).join(", ")}${i >= 3 ? ", and less at the others before it" : ""}.`;
    Object.assign(place.dataset, { shownLayer: chosen.layer, shownHead: chosen.head, shownToken: i });
  }

  /** The table is built only where somebody looks at it. */
  function showNumbers() {
    if (!numbers.open) { table.replaceChildren(); return; }
    const words = sentence().tokens.map(visible);
    const heading = make("tr", {}, make("th", { scope: "col" }, "looks at"), ...words.map((word) => make("th", { scope: "col" }, word)));
    const body = words.map((word, i) => make("tr", {}, make("th", { scope: "row" }, word),
      ...words.map((_, j) => make("td", {}, j > i ? "" : weight(i, j).toFixed(3)))));
    table.replaceChildren(make("table", { class: "attention-table" },
      make("caption", {}, `Layer ${chosen.layer}, ${headName()}`), make("thead", {}, heading), make("tbody", {}, ...body)));
  }

  newSentence();
});

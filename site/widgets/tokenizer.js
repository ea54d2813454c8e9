/* GPT-2's tokenizer: text, bytes, pieces, the merges one by one, ids. (Lesson 01.)

   Options of the place: data-text, the text at the start.
   For tests the place carries data-ids, data-characters, data-bytes, data-pieces and data-tokens; the part
   with class "merges" carries data-step, data-parts (ids), data-pair and data-rank of the merge made last. */
"use strict";

(() => {
  const LONGEST = 10_000; // characters: more would make typing slow
  const DRAWN = 600; // tokens and pieces; the others are counted
  const EXAMPLES = [
    ["A story", "Once upon a time, there was a little dragon who couldn't fly."],
    ["Spaces", "one two  three   four\n\tfive "],
    ["Numbers", "7 42 365 1999 123456789"],
    ["Languages", "Straße, être, 你好世界, Привет, नमस्ते, مرحبا"],
    ["Emoji", "🙂👍🏽👩‍👩‍👧‍👦 é é"],
    ["Code", "def f(x):\n    return x ** 2  # square"],
  ];

  /** GPT-2's numbers for the 256 bytes: first those that print as one letter, then the others. */
  function byteOrder() {
    const visible = (byte) =>
      (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const bytes = [...Array(256).keys()];
    return [...bytes.filter(visible), ...bytes.filter((byte) => !visible(byte))];
  }

  /** The tokenizer itself; `data` is what lessons/explore/for_widgets/tokenizer.py makes. */
  function makeTokenizer(data) {
    const idOfByte = new Map(byteOrder().map((byte, id) => [byte, id]));
    const bytesOf = byteOrder().map((byte) => [byte]); // id -> bytes; filled for merges when asked for
    const halves = []; // merge number -> [left id, right id]
    const merged = new Map(); // left id * 65536 + right id -> the id of both together
    for (let at = 0; at < data.merges.length; at += 8) {
      const pair = parseInt(data.merges.slice(at, at + 8), 16);
      merged.set(pair, 256 + halves.length);
      halves.push([Math.floor(pair / 65536), pair % 65536]);
    }
    const bytes = (id) =>
      (bytesOf[id] ??= [...bytes(halves[id - 256][0]), ...bytes(halves[id - 256][1])]);

    // The pattern with tiktoken's own letters, numbers and spaces: a browser's \p{L} is of another year,
    // and its \s has other members.
    const set = (ranges) => ranges.replace(/([0-9a-f]+)/g, "\\u{$1}").replaceAll(" ", "");
    const [L, N, S] = [set(data.letters), set(data.numbers), set(data.spaces)];
    const pattern = new RegExp(
      `'(?:[sdmt]|ll|ve|re)| ?[${L}]+| ?[${N}]+| ?[^${S}${L}${N}]+|[${S}]+(?![^${S}])|[${S}]+`, "gu");

    const utf8 = new TextEncoder();
    const known = new Map(); // piece -> what `encode` returned for it

    /** Merge one piece: {start: ids of its bytes, steps: [{at, left, right, id}], ids: at the end}. */
    function encode(piece) {
      if (known.has(piece)) return known.get(piece);
      const start = [...utf8.encode(piece)].map((byte) => idOfByte.get(byte));
      const ids = [...start];
      const join = (at) => merged.get(ids[at] * 65536 + ids[at + 1]) ?? Infinity;
      const joined = ids.slice(1).map((_, at) => join(at)); // the id that each pair would become
      const steps = [];
      while (joined.length) {
        let at = 0; // the pair whose merge was learned first; of equal ones the leftmost
        for (let i = 1; i < joined.length; i++) if (joined[i] < joined[at]) at = i;
        const id = joined[at];
        if (id === Infinity) break;
        steps.push({ at, left: ids[at], right: ids[at + 1], id });
        ids.splice(at, 2, id);
        joined.splice(at, 1);
        if (at > 0) joined[at - 1] = join(at - 1);
        if (at < joined.length) joined[at] = join(at);
      }
      const result = { start, steps, ids };
      if (known.size > 20_000) known.clear();
      known.set(piece, result);
      return result;
    }

    return { pieces: (text) => text.match(pattern) ?? [], encode, bytes };
  }

  const hex = (byte) => byte.toString(16).toUpperCase().padStart(2, "0");

  /** Text that can be seen: a space is ␣, a mark that would sit on its neighbour gets a ring. */
  function visible(text) {
    return [...text].map((letter) => {
      if (letter === " ") return "␣";
      if (letter === "\n") return "⏎";
      if (letter === "\t") return "⇥";
      if (/\p{M}/u.test(letter)) return `◌${letter}`;
      if (/[\p{C}\p{Z}]/u.test(letter)) return `U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
      return letter;
    }).join("");
  }

  /** A token's bytes as text, or, where they are only a part of a character, as numbers. */
  function shown(bytes) {
    try {
      return visible(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
    } catch {
      return bytes.map(hex).join(" ");
    }
  }

  const many = (n, one, more = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : more}`;

  course.widget("tokenizer", async (place) => {
    const { make } = course;
    place.append(make("p", { class: "note" }, "GPT-2's 50,000 merges are being loaded (0.4 MB)."));
    const data = await course.data("gpt2");
    let merges = { start: [], steps: [], ids: [] }; // of the chosen piece
    let chosen = 0; // its number
    const gpt2 = makeTokenizer(data);
    const token = (id, number) => make("li", { class: `token token-${number % 4}`, title: gpt2.bytes(id).map(hex).join(" ") },
      make("span", { class: "token-text" }, shown(gpt2.bytes(id))),
      make("span", { class: "token-id" }, String(id)));

    const part = (id, number) => {
      const item = token(id, number);
      const bytes = gpt2.bytes(id);
      item.append(make("span", { class: "token-bytes" }, bytes.length > 4 ? `${bytes.length} bytes` : bytes.map(hex).join(" ")));
      return item;
    };

    const text = course.field("Text", { rows: 3, value: place.dataset.text ?? EXAMPLES[0][1], spellcheck: "false", change: update });
    const examples = make("div", { role: "group", "aria-label": "Examples" },
      ...EXAMPLES.map(([name, example]) => course.button(name, () => { text.input.value = example; update(); })));
    const counts = make("p", { "aria-live": "polite", class: "counts" });
    const remark = make("p", { class: "note", "aria-live": "polite" });
    const tokens = make("ol", { class: "tokens", "aria-label": "Tokens: text and id", tabindex: "0" });
    const idLine = make("code", {});
    const byteLine = make("code", {});
    const pieces = make("div", { class: "pieces", role: "toolbar", "aria-label": "Pieces; arrow keys move, choosing one shows its merges" });
    pieces.addEventListener("keydown", walk);

    // The merges of one piece, step by step.
    const title = make("strong", {});
    const slider = course.slider("Merges made", { min: 0, max: 1, step: 1, value: 0, show: (n) => `${n} of ${merges.steps.length}`, change: showStep });
    const back = course.button("Back", () => go(-1));
    const next = course.button("Next merge", () => go(1));
    const parts = make("ol", { class: "tokens", "aria-label": "The parts of the piece after these merges: text and id" });
    const sentence = make("p", { "aria-live": "polite", class: "sentence" });
    const table = make("table", { class: "numbers" });
    const panel = make("div", { class: "merges" }, make("p", {}, title), slider.row, make("div", {}, back, next), parts, sentence,
      make("details", {}, make("summary", {}, "All merges of this piece as a table"),
        make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Merges" }, table)));

    function update() {
      const whole = [...text.value()];
      const read = whole.slice(0, LONGEST).join("");
      // Half a surrogate pair is no text: like tiktoken we read U+FFFD in its place.
      const clean = read.replace(/\p{Cs}/gu, "\uFFFD");
      const all = gpt2.pieces(clean);
      const ids = all.flatMap((piece) => gpt2.encode(piece).ids);
      const characters = [...clean].length;
      const bytes = new TextEncoder().encode(clean);
      Object.assign(place.dataset, { ids: ids.join(" "), characters, bytes: bytes.length, pieces: all.length, tokens: ids.length });
      counts.textContent = ids.length
        ? `${many(characters, "character")}, ${many(bytes.length, "byte")}, ${many(all.length, "piece")}, ` +
          `${many(ids.length, "token")}: ${(bytes.length / ids.length).toFixed(2)} bytes per token.`
        : "No text, no tokens. Type something.";
      remark.textContent = [
        whole.length > LONGEST ? `Only the first ${LONGEST.toLocaleString("en")} characters are read here.` : "",
        ids.length > DRAWN ? `The first ${DRAWN} tokens and pieces are drawn; all are counted.` : "",
        clean !== read ? "Half of a character (a lone surrogate) is no text; it is read as U+FFFD." : "",
        clean.includes(data.endOfText.text)
          ? `Typed, ${data.endOfText.text} is ordinary text. The one token ${data.endOfText.id} is put between texts by the program, never by the reader.` : "",
      ].join(" ");
      tokens.replaceChildren(...ids.slice(0, DRAWN).map(token));
      idLine.textContent = `[${ids.join(", ")}]`;
      byteLine.textContent = [...bytes].map(hex).join(" ");
      chosen = Math.min(chosen, Math.max(0, Math.min(all.length, DRAWN) - 1));
      pieces.replaceChildren(...all.slice(0, DRAWN).map((piece, i) => {
        const button = course.button(visible(piece), () => choose(i, piece));
        button.tabIndex = -1; // one stop for the Tab key; the arrow keys go on from there
        return button;
      }));
      panel.hidden = !all.length;
      if (all.length) choose(chosen, all[chosen]);
    }

    function choose(i, piece) {
      pieces.children[chosen]?.setAttribute("aria-pressed", "false");
      if (pieces.children[chosen]) pieces.children[chosen].tabIndex = -1;
      chosen = i;
      pieces.children[i].setAttribute("aria-pressed", "true");
      pieces.children[i].tabIndex = 0;
      merges = gpt2.encode(piece);
      title.textContent = `Piece ${i + 1} of ${place.dataset.pieces}: “${visible(piece)}”, ${many(merges.start.length, "byte")}`;
      slider.input.max = merges.steps.length;
      slider.input.disabled = !merges.steps.length;
      slider.set(0);
      table.replaceChildren(
        make("caption", {}, `Merges of “${visible(piece)}”`),
        make("tr", {}, ...["Step", "Left part", "Right part", "Together", "Rank of the merge", "New id"].map((name) => make("th", { scope: "col" }, name))),
        ...merges.steps.slice(0, 500).map(({ left, right, id }, step) => make("tr", {},
          ...[step + 1, shown(gpt2.bytes(left)), shown(gpt2.bytes(right)), shown(gpt2.bytes(id)), id - 256, id].map((cell) => make("td", {}, String(cell))))));
      showStep(0);
    }

    function walk(event) {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
      const here = [...pieces.children].indexOf(document.activeElement);
      if (step === undefined || here < 0) return;
      event.preventDefault();
      const there = pieces.children[Math.min(pieces.children.length - 1, Math.max(0, here + step))];
      there.focus();
      there.click();
    }

    function go(by) {
      slider.set(Math.min(merges.steps.length, Math.max(0, slider.value() + by)));
      showStep(slider.value());
    }

    function showStep(step) {
      const ids = [...merges.start];
      for (const { at, id } of merges.steps.slice(0, step)) ids.splice(at, 2, id);
      const last = merges.steps[step - 1];
      const coming = merges.steps[step];
      parts.replaceChildren(...ids.slice(0, DRAWN).map(part));
      if (last) parts.children[last.at]?.classList.add("made");
      if (coming) for (const at of [coming.at, coming.at + 1]) parts.children[at]?.classList.add("coming");
      const name = (id) => `“${shown(gpt2.bytes(id))}”`;
      const said = [];
      if (last) said.push(`Step ${step}: ${name(last.left)} and ${name(last.right)} become ${name(last.id)}, by the merge of rank ${last.id - 256}; its id is ${last.id}.`);
      else said.push(merges.start.length === 1 ? "One byte: its id is the number that GPT-2 gives to that byte." : "The bytes, before any merge: below each stand GPT-2's id for it and the byte itself, in hexadecimal.");
      if (coming) said.push(`Next: ${name(coming.left)} and ${name(coming.right)} (dashed), whose merge has the lowest rank of all neighbours here.`);
      else if (merges.start.length > 1) said.push(ids.length === 1 ? "One token is left: done." : "No two neighbours here have a merge: done.");
      sentence.textContent = said.join(" ");
      Object.assign(panel.dataset, { step, parts: ids.join(" "), pair: last ? `${last.left} ${last.right}` : "", rank: last ? last.id - 256 : "" });
      back.disabled = step === 0;
      next.disabled = step >= merges.steps.length;
    }

    place.replaceChildren(text.row, examples, counts, remark, tokens,
      make("p", { class: "note" }, "As a list of numbers: ", idLine),
      make("details", {}, make("summary", {}, "The UTF-8 bytes of the text"), make("p", { class: "note" }, byteLine)),
      make("p", { class: "note" }, "The text is cut into pieces first; no merge reaches across two of them. Choose one:"),
      pieces, panel);
    update();
  });
})();

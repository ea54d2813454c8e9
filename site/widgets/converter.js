/* Perplexity and bits-per-byte converter: change any field, the others follow. (Lesson 10.)

   Options of the place: data-nats, data-bytes-per-token, data-characters-per-token, the values at the start.
   For tests the place carries data-nats, data-bits, data-perplexity, data-bytes-per-token,
   data-characters-per-token, data-bpb and data-bpc, empty where there is no such number. */
"use strict";

(() => {
  // Short texts of our own, and how many of GPT-2's tokens they are: a test counts again.
  const TEXTS = [
    { name: "English story", tokens: 26, text: "Once upon a time there was a little fox who lived near a river. Every morning she counted the fish and forgot the number." },
    { name: "German", tokens: 44, text: "Es war einmal ein kleiner Fuchs, der an einem Fluss wohnte. Jeden Morgen zählte er die Fische und vergaß die Zahl." },
    { name: "Chinese", tokens: 62, text: "从前有一只小狐狸，住在河边。每天早上它数鱼，然后忘记了数目。" },
    { name: "Hindi", tokens: 135, text: "एक बार एक छोटी लोमड़ी नदी के पास रहती थी। वह हर सुबह मछलियाँ गिनती और संख्या भूल जाती थी।" },
    { name: "Python", tokens: 39, text: "def count(fish):\n    total = 0\n    for one in fish:\n        total += 1\n    return total\n" },
    { name: "Digits", tokens: 33, text: "3.14159265358979 2.71828182845905 1.41421356237310 0.57721566490153" },
  ];

  const FIELDS = [
    ["nats", "Loss, nats per token"],
    ["bits", "Bits per token"],
    ["perplexity", "Perplexity"],
    ["bytesPerToken", "Bytes per token"],
    ["charactersPerToken", "Characters per token"],
    ["bpb", "Bits per byte"],
    ["bpc", "Bits per character"],
  ];
  const LENGTHS = ["bytesPerToken", "charactersPerToken"];
  const SMALLEST_PERPLEXITY = 1; // one token to choose from: no surprise at all

  /** The loss in nats per token that a field stands for. */
  function natsFrom(key, value, { bytesPerToken, charactersPerToken }) {
    if (key === "nats") return value;
    if (key === "bits") return value * Math.LN2;
    if (key === "perplexity") return Math.log(value);
    return value * Math.LN2 * (key === "bpb" ? bytesPerToken : charactersPerToken);
  }

  /** All fields from the loss and the two lengths. */
  function follow(nats, { bytesPerToken, charactersPerToken }) {
    const bits = nats / Math.LN2;
    return { nats, bits, perplexity: Math.exp(nats), bytesPerToken, charactersPerToken, bpb: bits / bytesPerToken, bpc: bits / charactersPerToken };
  }

  /** Six digits, without a tail of zeros; very large and very small ones as 1.5e+300. */
  const shown = (value) => String(Number(value.toPrecision(6)));

  course.widget("converter", (place) => {
    const { make } = course;
    const fields = new Map(FIELDS.map(([key, label]) => [key, course.field(label, { inputmode: "decimal", autocomplete: "off", change: () => edited(key) })]));
    const lengths = { bytesPerToken: Number(place.dataset.bytesPerToken ?? 4), charactersPerToken: Number(place.dataset.charactersPerToken ?? 4) };
    let nats = Number(place.dataset.nats ?? 3);
    const wrong = make("p", { role: "alert", class: "wrong" });
    const says = make("p", { "aria-live": "polite" });
    const preset = course.choice("Lengths of", [["", "(your own)"], ...TEXTS.map(({ name }, i) => [i, name])], usePreset, "");
    const example = make("p", { class: "note", "aria-live": "polite" });

    function usePreset(index) {
      const found = TEXTS[index];
      example.textContent = "";
      if (!found) return;
      const [bytes, characters] = [new TextEncoder().encode(found.text).length, [...found.text].length];
      lengths.bytesPerToken = bytes / found.tokens;
      lengths.charactersPerToken = characters / found.tokens;
      example.textContent = `“${found.text.trim()}” is ${characters} characters, ${bytes} bytes and ${found.tokens} of GPT-2's tokens.`;
      show(null);
    }

    /** Take over what was typed, unless it is no such number. */
    function edited(key) {
      const [, label] = FIELDS.find(([name]) => name === key);
      const { input } = fields.get(key);
      let value = course.number(input.value, label);
      if (typeof value === "number") {
        if (LENGTHS.includes(key) && value <= 0) value = `${label} must be above 0: a token has some length.`;
        else if (key === "perplexity" && value < SMALLEST_PERPLEXITY) value = "Perplexity is at least 1: 1 means that every token was certain.";
        else if (value < 0) value = `${label} cannot be below 0: nobody knows more than everything.`;
      }
      for (const { input: each } of fields.values()) each.removeAttribute("aria-invalid");
      if (typeof value === "string") {
        input.setAttribute("aria-invalid", "true");
        wrong.textContent = `${value} The other fields are left as they were.`;
        return;
      }
      if (LENGTHS.includes(key)) {
        lengths[key] = value;
        preset.input.value = "";
        example.textContent = "";
      } else nats = natsFrom(key, value, lengths);
      show(key);
    }

    /** Fill all fields but the one that is being typed in. */
    function show(typing) {
      const values = follow(nats, lengths);
      const remarks = [];
      for (const [key, label] of FIELDS) {
        const value = values[key];
        const there = Number.isFinite(value);
        if (key !== typing) {
          fields.get(key).input.value = there ? shown(value) : "too large";
          fields.get(key).input.removeAttribute("aria-invalid");
        }
        if (!there) remarks.push(`${label} is too large for a computer's number.`);
        place.dataset[key] = there ? value : "";
      }
      if (lengths.bytesPerToken < lengths.charactersPerToken) remarks.push("A character is at least one byte, so there cannot be fewer bytes than characters per token.");
      wrong.textContent = remarks.join(" ");
      if (Number.isFinite(values.bpb)) {
        const brief = (value) => String(Number(value.toPrecision(4)));
        const choices = Number.isFinite(values.perplexity) ? `was as unsure as if it had to choose among ${brief(values.perplexity)} equally likely tokens` : "was hopelessly unsure";
        const verdict = values.bpb < 8 ? `could compress the text to ${brief(100 * values.bpb / 8)} % of its size` : "knows no more than one who guesses each byte blindly (8 bits per byte)";
        says.textContent = `At ${brief(nats)} nats per token the model ${choices}; with ${brief(lengths.bytesPerToken)} bytes per token that is ${brief(values.bpb)} bits per byte: it ${verdict}.`;
      } else says.textContent = "";
    }

    const group = (legend, keys, ...first) => make("fieldset", {}, make("legend", {}, legend), ...first,
      make("div", { class: "fields" }, ...keys.map((key) => fields.get(key).row)));
    place.append(
      group("Per token: depends on the tokenizer", ["nats", "bits", "perplexity"]),
      group("How long a token is", LENGTHS, preset.row, example),
      group("Per byte and character: comparable between tokenizers", ["bpb", "bpc"]),
      wrong, says);
    show(null);
  });
})();

/* Starts the widgets of a page: finds their places, loads their scripts and data, offers them controls.

   A place is `<div class="widget" data-widget="NAME" data-OPTION="...">what stands there without
   scripts</div>`. NAME.js lies beside this file and calls `course.widget("NAME", start)`; start gets the
   place, emptied, and may return a promise. Data lies in data/FILE.js and calls `course.deliver("FILE",
   value)`. All are classic scripts, because browsers refuse modules and fetch on file://. */
"use strict";

const course = (() => {
  const home = document.currentScript.src.replace(/[^/]*$/, "");
  const scripts = new Map(); // address -> promise that it has run
  const starts = new Map(); // widget -> function
  const parcels = new Map(); // file of data -> value

  function load(path) {
    if (!scripts.has(path)) {
      scripts.set(path, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = home + path;
        script.onload = resolve;
        script.onerror = () => { scripts.delete(path); reject(new Error(`${path} could not be loaded`)); };
        document.head.append(script);
      }));
    }
    return scripts.get(path);
  }

  /** Register what starts a widget. */
  function widget(name, start) { starts.set(name, start); }

  /** What a file of data calls with its content. */
  function deliver(file, value) { parcels.set(file, value); }

  /** Load data/FILE.js, once; a promise of its content. */
  async function data(file) {
    if (!parcels.has(file)) await load(`data/${file}.js`);
    return parcels.get(file);
  }

  /** Make an element: make("p", {class: "note", "aria-live": "polite"}, "text", child). */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  /** The same for SVG. */
  function draw(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  let count = 0;
  function labelled(label, input, ...after) {
    input.id ||= `course-control-${++count}`;
    return make("div", { class: "control" }, make("label", { for: input.id }, label), input, ...after);
  }

  /** A labelled slider that shows its value: {row, input, value()}. */
  function slider(label, { min, max, step, value, show = String, change }) {
    const input = make("input", { type: "range", min, max, step, value });
    const shown = make("output");
    const update = () => {
      shown.textContent = show(Number(input.value));
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    input.addEventListener("input", () => { update(); change(Number(input.value)); });
    update();
    const row = labelled(label, input, shown);
    shown.setAttribute("for", input.id);
    return { row, input, value: () => Number(input.value), set: (v) => { input.value = v; update(); } };
  }

  /** A labelled choice: choices is a list of [value, text]. */
  function choice(label, choices, change, chosen) {
    const input = make("select", {}, ...choices.map(([value, text]) =>
      make("option", { value, selected: String(value) === String(chosen) }, text)));
    input.addEventListener("change", () => change(input.value));
    return { row: labelled(label, input), input, value: () => input.value };
  }

  /** A labelled field of one line, or of several. */
  function field(label, { value = "", rows = 1, type = "text", change, ...more }) {
    const input = rows > 1 ? make("textarea", { rows, ...more }) : make("input", { type, ...more });
    input.value = value;
    input.addEventListener("input", () => change(input.value));
    return { row: labelled(label, input), input, value: () => input.value };
  }

  /** The number that a person typed, or a sentence (a string) that says what is wrong with it.
      A comma only groups thousands, and only in whole numbers: 0,5 might be a half or nothing. */
  function number(text, name, { min = -Infinity, max = Infinity, whole = false } = {}) {
    const typed = text.trim();
    const grouped = whole && /^[1-9]\d{0,2}(,\d{3})+$/.test(typed);
    const plain = grouped ? typed.replaceAll(",", "") : typed;
    if (plain === "") return `${name}: please give a number.`;
    if (/^[+-]?\d*,\d+$/.test(plain)) return `${name}: please write decimals with a point, not with a comma.`;
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain)) return `${name} must be a number, not “${typed.slice(0, 40)}”.`;
    const value = Number(plain);
    if (!Number.isFinite(value)) return `${name}: ${plain.slice(0, 40)} is too large.`;
    if (whole && !Number.isInteger(value)) return `${name} must be a whole number, not ${plain.slice(0, 40)}.`;
    if (value < min) return `${name} must be at least ${min}, not ${plain.slice(0, 40)}.`;
    if (value > max) return `${name} may be at most ${max.toLocaleString("en")} here.`;
    return value;
  }

  /** A button. */
  function button(text, press) {
    return make("button", { type: "button", class: "widget-button", onclick: press }, text);
  }

  /** A token's text with its spaces and ends of lines to be seen. */
  function visible(text) {
    return text.replaceAll(" ", "␣").replaceAll("\n", "↵")
      .replace(/[\x00-\x1f\x7f]/g, (letter) => `\\x${letter.charCodeAt(0).toString(16).padStart(2, "0")}`);
  }

  /** Tokens as a row of buttons of which one is pressed; arrow keys, Home and End go from one to the
      next, so the row takes one stop of the Tab key. choose(i) is called when i is pressed, focused,
      or, where hover is wished, pointed at. {row, buttons, press(i)}; press alone calls nothing. */
  function tokenRow(name, texts, choose, { hover = false } = {}) {
    const buttons = texts.map((text, i) => {
      const one = button(visible(text), () => choose(i));
      one.classList.add("token-button");
      one.addEventListener("focus", () => choose(i));
      if (hover) one.addEventListener("pointerenter", () => choose(i));
      one.addEventListener("keydown", (event) => {
        const to = { ArrowLeft: i - 1, ArrowUp: i - 1, ArrowRight: i + 1, ArrowDown: i + 1, Home: 0, End: texts.length - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        buttons[to]?.focus();
      });
      return one;
    });
    function press(chosen) {
      buttons.forEach((one, i) => {
        one.setAttribute("aria-pressed", i === chosen);
        one.tabIndex = i === chosen ? 0 : -1;
      });
    }
    return { row: make("div", { role: "toolbar", "aria-label": name, class: "token-row" }, ...buttons), buttons, press };
  }

  /** True where the reader asked for less motion. */
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  async function begin(place) {
    const name = place.dataset.widget;
    const without = [...place.childNodes];
    place.setAttribute("aria-busy", "true");
    try {
      if (!starts.has(name)) await load(`${name}.js`);
      place.replaceChildren();
      await starts.get(name)(place);
      place.dataset.ready = "yes";
    } catch (error) {
      place.replaceChildren(...without, make("p", { role: "alert" }, `This picture cannot be shown: ${error.message}.`));
      place.dataset.ready = "no";
      console.error(error);
    }
    place.removeAttribute("aria-busy");
  }

  /** Start each widget once it comes near the window. */
  function beginAll() {
    const places = document.querySelectorAll(".widget[data-widget]");
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) { near.unobserve(entry.target); begin(entry.target); }
      }
    }, { rootMargin: "400px" });
    places.forEach((place) => near.observe(place));
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", beginAll);
  else beginAll();
  return { widget, deliver, data, make, draw, slider, choice, field, number, button, visible, tokenRow, still };
})();

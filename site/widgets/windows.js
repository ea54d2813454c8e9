/* Windows (lesson 06): three stories in one row, and a window that one can move.

   Two sliders say where the window begins and how long it is. The page shows what the model sees (x), what
   it should say (y, the same window one place on), which starts are allowed, and where the window passes
   from one story into the next. For tests, the list of tokens says what it holds in data- attributes:
   ids, block, start, x, y (ids; empty where the start is refused), allowed (how many starts) and crossings. */
"use strict";

course.widget("windows", (place) => {
  const END = "<end>"; // the separator, id 0
  const stories = [
    ["The", "old", "fox", "slept", "."],
    ["A", "dog", "ran", "home", "."],
    ["Mia", "found", "the", "old", "ball", "."],
  ];
  const names = [END, ...new Set(stories.flat())]; // a token's id is its place here
  const row = stories.flatMap((words, story) => [...words, END].map((word) => ({ word, story, id: names.indexOf(word) })));

  const { make, slider, button } = course;
  const sees = (token) => (token.word === END ? "end" : token.word);
  const cells = row.map((token, i) => make("li", { class: `window-token story-${token.story}` },
    make("span", { class: "window-word" }, sees(token)),
    make("span", { class: "window-place" }, String(i)),
    make("span", { class: "window-mark" })));
  const list = make("ol", { class: "window-row", "aria-label": "The row of tokens, with their places", start: 0 }, ...cells);
  const said = make("p", { "aria-live": "polite", class: "window-said" });
  const body = make("tbody");
  const table = make("table", { class: "window-table" },
    make("caption", {}, "The window, place by place"),
    make("thead", {}, make("tr", {}, ...["t", "sees x", "should say y", "note"].map((name) => make("th", { scope: "col" }, name)))),
    body);

  /** What is worth knowing about the target y of the token x. */
  function remark(x, y) {
    if (x.story !== y.story) return "a new story begins";
    if (y.word === END) return "it learns to stop";
    return "";
  }

  function show() {
    const n = row.length, block = blockSlider.value(), start = startSlider.value();
    const last = n - block - 1; // a window and its last target take block + 1 tokens
    const allowed = start <= last;
    const x = allowed ? row.slice(start, start + block) : [];
    const y = allowed ? row.slice(start + 1, start + block + 1) : [];
    const crossings = x.filter((token, t) => token.story !== y[t].story).length;

    cells.forEach((cell, i) => {
      const inX = i >= start && i < start + block, inY = i > start && i <= start + block;
      cell.classList.toggle("in-x", allowed && inX);
      cell.classList.toggle("in-y", allowed && inY);
      cell.classList.toggle("no-start", i > last);
      cell.querySelector(".window-mark").textContent = !allowed ? (i === start ? "✗" : "") : [inX ? "x" : "", inY ? "y" : ""].join(" ").trim();
    });
    body.replaceChildren(...x.map((token, t) => make("tr", {},
      make("th", { scope: "row" }, String(t)), make("td", {}, sees(token)), make("td", {}, sees(y[t])),
      make("td", {}, remark(token, y[t])))));
    table.hidden = !allowed;

    const range = `Allowed starts: 0 to ${last}, that is ${n} - ${block} - 1.`;
    const told = new Set(y.map((token) => token.story)).add(x[0]?.story).size;
    said.textContent = allowed
      ? `${range} From ${start} on, the model reads places ${start} to ${start + block - 1}; the last target is at ${start + block}. ` +
        (crossings ? `The window passes from one story into the next ${crossings === 1 ? "once" : `${crossings} times`}: later places see words of ${told} stories.`
          : "The window stays in one story.")
      : `${range} Start ${start} is refused: the last target would be at ${start + block}, and the row ends at ${n - 1}.`;
    Object.assign(list.dataset, {
      ids: row.map((token) => token.id).join(" "), block, start, allowed: last + 1, crossings,
      x: x.map((token) => token.id).join(" "), y: y.map((token) => token.id).join(" "),
    });
  }

  const startSlider = slider("start", { min: 0, max: row.length - 1, step: 1, value: 3, change: show });
  const blockSlider = slider("block size", { min: 1, max: row.length - 1, step: 1, value: 4, change: show });
  cells.forEach((cell, i) => cell.addEventListener("click", () => { startSlider.set(i); show(); })); // beside the slider, for a finger
  place.append(startSlider.row, blockSlider.row,
    button("Draw a start", () => {
      startSlider.set(Math.floor(Math.random() * (row.length - blockSlider.value())));
      show();
    }), list, said, table);
  show();
});

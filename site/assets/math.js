/* Renders the formulas of a page. KaTeX (a quarter of a megabyte) is loaded only where there are some;
   where it fails, the formula's source stays, without its backslash brackets. */
"use strict";

(() => {
  const home = document.currentScript.src.replace(/[^/]*$/, "") + "katex/";

  function load(kind, attributes) {
    return new Promise((resolve, reject) => {
      const element = Object.assign(document.createElement(kind), attributes);
      element.onload = resolve;
      element.onerror = () => reject(new Error("KaTeX could not be loaded"));
      document.head.append(element);
    });
  }

  /** The formula's source: the extension wraps it in \( \) or \[ \]. */
  const source = (place) => place.textContent.trim().replace(/^\\[([]|\\[)\]]$/g, "").trim();

  function render(place) {
    const displayMode = place.textContent.trim().startsWith("\\[");
    const tex = source(place);
    try {
      window.katex.render(tex, place, { displayMode, throwOnError: true, strict: "ignore", trust: false });
      place.dataset.math = "yes";
    } catch (error) {
      place.textContent = tex;
      place.dataset.math = "no";
      console.error(`formula ${tex}: ${error.message}`);
    }
  }

  async function renderAll() {
    const places = [...document.querySelectorAll(".arithmatex")];
    if (!places.length) return;
    try {
      await Promise.all([
        load("link", { rel: "stylesheet", href: home + "katex.min.css" }),
        load("script", { src: home + "katex.min.js" }),
      ]);
      places.forEach(render);
    } catch (error) {
      for (const place of places) place.textContent = source(place);
      console.error(error);
    }
    document.documentElement.dataset.math = "done"; // theme.js measures again, tests wait for it
    dispatchEvent(new Event("resize"));
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", renderAll);
  else renderAll();
})();

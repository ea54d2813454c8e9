/* What the theme leaves to be mended while a page stands.

   What is wider than the window scrolls inside itself, and by keyboard: it can be reached with Tab
   exactly while it needs scrolling. Parts that a screen reader lists get names. */
"use strict";

(() => {
  const WIDE = [
    [".md-typeset__scrollwrap", "table"],
    [".katex-display", "formula"],
    [".md-typeset pre > code", "code"],
    [".figure-scroll", "figure"],
  ];

  function measure() {
    for (const [selector, name] of WIDE) {
      for (const place of document.querySelectorAll(selector)) {
        if (place.scrollWidth > place.clientWidth + 1) {
          place.tabIndex = 0;
          place.setAttribute("role", "group");
          place.setAttribute("aria-label", `wide ${name}, scrolls sideways`);
        } else if (place.hasAttribute("tabindex")) {
          for (const attribute of ["tabindex", "role", "aria-label"]) place.removeAttribute(attribute);
        }
      }
    }
  }

  function name() {
    document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
    for (const buttons of document.querySelectorAll("nav.md-code__nav")) {
      buttons.setAttribute("role", "group"); // a landmark for each copy button would be noise
    }
  }

  let waiting = 0;
  function soon() {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => { name(); measure(); });
  }

  addEventListener("DOMContentLoaded", soon);
  addEventListener("load", soon);
  addEventListener("resize", soon);
  document.addEventListener("toggle", soon, true); // what stood in a fold has a width now
})();

/* Turns the lists of `<div class="quiz">` into answers that one can press.

   In the page a question is a bold line, then a list of answers, `- [x]` the right one, each with a
   nested list that says why. Pressing an answer shows its why; nothing is counted or kept. Without
   scripts the list is read as it stands. */
"use strict";

(() => {
  let count = 0;

  /** One answer: a button, and beneath it what comes when it is pressed. */
  function answer(item) {
    const right = item.querySelector(":scope input[type=checkbox]").checked;
    const why = item.querySelector(":scope > ul, :scope > ol");
    const words = [...item.childNodes].filter((node) => node !== why);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiz-answer";
    button.setAttribute("aria-expanded", "false");
    for (const node of words) {
      const inner = node.nodeName === "P" ? [...node.childNodes] : [node]; // a loose list has paragraphs
      button.append(...inner.filter((child) => !child.matches?.("input, label.task-list-control")));
    }
    const shown = document.createElement("div");
    shown.className = "quiz-why";
    shown.setAttribute("aria-live", "polite");
    button.addEventListener("click", () => {
      button.dataset.right = right ? "yes" : "no";
      button.setAttribute("aria-expanded", "true");
      const verdict = document.createElement("p");
      verdict.className = "quiz-verdict";
      verdict.textContent = right ? "✓ Right." : "✗ Not this one.";
      shown.replaceChildren(verdict, ...(why ? [...why.children].flatMap((one) => [...one.cloneNode(true).childNodes]) : []));
    });
    item.replaceChildren(button, shown);
  }

  function begin() {
    for (const list of document.querySelectorAll(".quiz ul.task-list")) {
      if (list.parentElement.closest(".task-list")) continue;
      const question = list.previousElementSibling;
      if (question) {
        question.id ||= `quiz-question-${++count}`;
        list.setAttribute("aria-labelledby", question.id);
      }
      [...list.children].filter((item) => item.querySelector("input[type=checkbox]")).forEach(answer);
      list.closest(".quiz").dataset.ready = "yes";
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();

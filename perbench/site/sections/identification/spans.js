"use strict";
(() => {
  const list = document.getElementById("examples"), tools = document.getElementById("tools");
  const who = document.getElementById("who"), by = document.getElementById("by"), said = document.getElementById("said");
  const examples = [...list.children];
  tools.hidden = false;
  tools.addEventListener("submit", event => event.preventDefault());

  // Rows of one identifier, or of all: counts add up over identifiers, scores of different ones do not compare.
  const rows = example => [...example.querySelectorAll("[data-column]")]
    .filter(row => who.value === "all" || row.dataset.column === who.value);
  const sum = (example, key) => rows(example).reduce((all, row) => all + +row.dataset[key], 0);
  const score = (example, key) => {
    const row = rows(example)[0];
    return row && key in row.dataset ? +row.dataset[key] : null;
  };
  const keys = {
    errors: example => sum(example, "wrong") + sum(example, "missed"),
    wrong: example => sum(example, "wrong"),
    missed: example => sum(example, "missed"),
    highest: example => score(example, "highest"),
    lowest: example => { const low = score(example, "lowest"); return low === null ? null : -low; },
    id: () => null,
  };
  const names = new Intl.Collator("en", { numeric: true });
  const arrange = () => {
    for (const option of by.options) {
      option.disabled = who.value === "all" && ["highest", "lowest"].includes(option.value);
    }
    if (by.selectedOptions[0].disabled) by.value = "errors";
    const keyed = examples.map(example => [keys[by.value](example), example]);
    keyed.sort(([a, x], [b, y]) =>
      (a === null) - (b === null) || (a === null ? 0 : b - a) || names.compare(x.dataset.id, y.dataset.id));
    list.append(...keyed.map(([, example]) => example));
    for (const row of list.querySelectorAll("[data-column]")) {
      row.hidden = who.value !== "all" && row.dataset.column !== who.value;
    }
    said.textContent = `${examples.length} answers, sorted by ${by.selectedOptions[0].text}.`;
  };
  tools.addEventListener("change", arrange);
})();

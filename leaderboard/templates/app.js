"use strict";
(() => {
  const matrix = document.getElementById("matrix"), tools = document.getElementById("tools");
  if (matrix) {
    tools.hidden = false;
    tools.addEventListener("change", event => {
      matrix.dataset.show = event.target.value;
      [...matrix.tHead.rows[0].cells].forEach(head => head.removeAttribute("aria-sort"));
    });
  }

  // A column sorts by what it shows: gains when only gains are shown. Cells without a number stay last.
  const value = (row, i) => {
    const cell = row.cells[i], key = row.closest("table").dataset.show === "gains" ? "g" : "v";
    return i === 0 ? -row.dataset.place : key in cell.dataset ? +cell.dataset[key] : null;
  };
  const sort = (table, i, up) => {
    const rows = [...table.tBodies[0].rows].map(row => [value(row, i), row]);
    rows.sort(([a, x], [b, y]) =>
      a === null || b === null ? (a === null) - (b === null) || x.dataset.place - y.dataset.place
        : (up ? a - b : b - a) || x.dataset.place - y.dataset.place);
    rows.forEach(([, row]) => table.tBodies[0].append(row));
    table.classList.add("sorted");
    [...table.tHead.rows[0].cells].forEach((head, j) =>
      j === i ? head.setAttribute("aria-sort", up ? "ascending" : "descending") : head.removeAttribute("aria-sort"));
  };
  for (const table of document.querySelectorAll(".sortable")) {
    [...table.tBodies[0].rows].forEach((row, place) => { row.dataset.place = place; });
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      // The best come first: the lowest, where lower is better.
      const first = head.dataset.better === "lower" ? "ascending" : "descending";
      button.addEventListener("click", () => sort(table, i, (head.getAttribute("aria-sort") === first) === (first === "descending")));
    });
  }

  const reveal = () => {
    const record = document.getElementById(location.hash.slice(1));
    if (record instanceof HTMLDetailsElement) {
      record.open = true;
      record.scrollIntoView();
      record.firstElementChild.focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", reveal);
  reveal();
})();

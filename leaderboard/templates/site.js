/* Theme, sorting, filters, permalinks and keys of tables. Everything reads without it. */
(function () {
  "use strict";
  var root = document.documentElement;
  function all(selector, inside) { return [].slice.call((inside || document).querySelectorAll(selector)); }
  root.classList.remove("no-js");

  /* Theme: the reader's system decides until the button is used. */
  function theme(value) {
    try {
      if (value === undefined) return localStorage.getItem("perbench-theme");
      localStorage.setItem("perbench-theme", value);
    } catch (error) { /* no storage */ }
    return null;
  }
  if (theme()) root.dataset.theme = theme();

  /* State: "#key=value&…", so that a link shows the same view. An anchor such as "#sample-3" is kept. */
  var state = {}, anchor = "";
  function readState() {
    state = {};
    anchor = /^#[^=]+$/.test(location.hash) ? location.hash : "";
    location.hash.slice(1).split("&").forEach(function (part) {
      var at = part.indexOf("=");
      if (at < 1) return;
      try { state[part.slice(0, at)] = decodeURIComponent(part.slice(at + 1)); } catch (error) { /* not ours */ }
    });
  }
  function saveState() {
    var parts = Object.keys(state).filter(function (key) { return state[key]; }).map(function (key) {
      return key + "=" + encodeURIComponent(state[key]);
    });
    history.replaceState(null, "", parts.length ? "#" + parts.join("&") : anchor || location.pathname + location.search);
  }

  function rows(table) { return all("tbody > tr", table).filter(function (row) { return row.dataset.row !== "head"; }); }
  function shown(cell) { return cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent.trim(); }

  var names = new Intl.Collator("en", { numeric: true });
  function sort(table, column, up) {
    var list = rows(table).map(function (row, place) {
      var text = shown(row.cells[column]);
      return { row: row, text: text, number: text === "" ? NaN : Number(text), place: place };
    });
    list.sort(function (a, b) {
      if ((a.text === "") !== (b.text === "")) return a.text === "" ? 1 : -1;
      var order = isNaN(a.number) || isNaN(b.number) ? names.compare(a.text, b.text) : a.number - b.number;
      return (up ? order : -order) || a.place - b.place;
    });
    all("[data-row=head]", table).forEach(function (row) { row.hidden = true; });
    table.classList.add("sorted");
    list.forEach(function (one) { table.tBodies[0].appendChild(one.row); });
    all("th[aria-sort]", table).forEach(function (head) { head.removeAttribute("aria-sort"); });
    heads(table)[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  }
  function heads(table) { return [].slice.call(table.tHead.rows[table.tHead.rows.length - 1].cells); }
  function sortable(table) {
    heads(table).forEach(function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild && head.firstChild.className !== "u") button.appendChild(head.firstChild);
      head.insertBefore(button, head.firstChild);
      button.addEventListener("click", function () {
        /* The best first: names from a to z, numbers from the top, or from the bottom where lower is better. */
        var first = column === 0 || head.dataset.better === "lower" ? "ascending" : "descending";
        var up = (head.getAttribute("aria-sort") === first) !== (first === "ascending");
        sort(table, column, up);
        state[table.id + ".sort"] = column + (up ? "a" : "d");
        saveState();
      });
    });
  }
  function sortFromState(table) {
    var found = /^(\d+)([ad])$/.exec(state[table.id + ".sort"] || "");
    if (found && heads(table)[found[1]]) sort(table, Number(found[1]), found[2] === "a");
  }

  /* The text of a row without its cards, which are read late in large tables. */
  var texts = new Map();
  function searched(row) {
    if (!texts.has(row)) {
      var text = [row.textContent, row.dataset.model, row.dataset.source].filter(Boolean).join(" ");
      all(".tip", row).forEach(function (tip) { text = text.replace(tip.textContent, " "); });
      texts.set(row, text.toLowerCase());
    }
    return texts.get(row);
  }
  function filter(form) {
    var table = document.getElementById(form.dataset.filter), values = {};
    all("select, input", form).forEach(function (field) {
      values[field.name] = field.type === "checkbox" ? (field.checked ? "1" : "") : field.value;
      state[table.id + "." + field.name] = values[field.name];
    });
    var words = (values.q || "").toLowerCase().split(/\s+/).filter(Boolean), list = all("[data-row]", table);
    list.forEach(function (row) {
      if (row.dataset.row === "head") return;
      var fits = ["model", "trainer", "source"].every(function (key) {
        /* A baseline stays beside the trainer that is compared with it. */
        return !values[key] || row.dataset[key] === values[key] || (key === "trainer" && row.dataset.row === "context");
      });
      if (fits && values.sep) fits = row.dataset.row === "context" || row.dataset.sep === "1";
      if (fits && words.length && row.dataset.row !== "context") {
        fits = words.every(function (word) { return searched(row).indexOf(word) >= 0; });
      }
      row.hidden = !fits;
    });
    var narrowed = words.length || values.sep || values.trainer;
    /* What rows of these kinds are shown under a heading: looked up, for tables of hundreds of rows. */
    function under(kinds) {
      var found = new Set();
      list.forEach(function (row) {
        if (kinds.indexOf(row.dataset.row) < 0 || row.hidden) return;
        var model = row.dataset.model || "", source = row.dataset.source || "";
        [[model, source], [model, ""], ["", source], ["", ""]].forEach(function (key) { found.add(key.join("\n")); });
      });
      return function (row) { return found.has((row.dataset.model || "") + "\n" + (row.dataset.source || "")); };
    }
    var has = under(["cell"]);
    list.forEach(function (row) {
      if (row.dataset.row === "context" && narrowed) row.hidden = row.hidden || !has(row);
    });
    var count = list.filter(function (row) { return row.dataset.row !== "head" && !row.hidden; }).length;
    has = under(["cell", "context"]);
    list.forEach(function (row) {
      if (row.dataset.row === "head") row.hidden = table.classList.contains("sorted") || !has(row);
    });
    if (values.seed !== undefined) all("[data-seeds]", table).forEach(function (cell) { seed(cell, values.seed); });
    table.classList.toggle("one-seed", Boolean(values.seed));
    all("[role=status]", form).forEach(function (place) { place.textContent = count + " " + (count === 1 ? form.dataset.one || "row" : form.dataset.many || "rows"); });
    if (values.order !== undefined) arrange(list, values.order);
    var empty = document.getElementById(table.id + "-empty");
    if (empty) empty.hidden = count > 0 || list.some(function (row) { return !row.hidden; });
  }
  /* Samples: "score down" puts the highest first; those without a score are last, "" is the page's own order. */
  function arrange(list, order) {
    var key = order.split(" ")[0], sign = order.split(" ")[1] === "down" ? -1 : 1;
    list.forEach(function (row, place) { if (row.dataset.place === undefined) row.dataset.place = place; });
    list.slice().sort(function (a, b) {
      var x = a.dataset[key], y = b.dataset[key];
      if (key && (x === undefined) !== (y === undefined)) return x === undefined ? 1 : -1;
      return (key && x !== undefined ? sign * (x - y) : 0) || a.dataset.place - b.dataset.place;
    }).forEach(function (row) { row.parentNode.appendChild(row); });
  }
  /* With a seed chosen, a cell shows the score of that seed alone. */
  function seed(cell, chosen) {
    var place = cell.querySelector(".s"), found = {};
    if (!place) return;
    if (place.dataset.all === undefined) place.dataset.all = place.textContent;
    cell.dataset.seeds.split(" ").forEach(function (part) { found[part.split(":")[0]] = part.split(":")[1]; });
    place.textContent = chosen ? found[chosen] || "–" : place.dataset.all;
  }
  function fillForm(form) {
    all("select, input", form).forEach(function (field) {
      var value = state[form.dataset.filter + "." + field.name] || "";
      if (field.type === "checkbox") field.checked = Boolean(value);
      else field.value = value;
      if (field.value !== value && field.type !== "checkbox") field.value = "";
    });
  }

  /* Arrow keys walk the cells of a grid, Enter opens, Escape leaves. */
  function walk(table) {
    var cells = all(".c", table);
    cells.forEach(function (cell, place) { cell.tabIndex = place ? -1 : 0; });
    table.addEventListener("keydown", function (event) {
      var at = event.target.closest(".c");
      var step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!at) return;
      if (event.key === "Escape") { at.blur(); return; }
      if (event.key === "Enter" && event.target === at) {
        var link = at.querySelector("a");
        if (link) location.href = link.href;
        return;
      }
      if (!step) return;
      event.preventDefault();
      var grid = all("tbody > tr", table).filter(function (row) { return !row.hidden; }).map(function (row) {
        return all(".c", row);
      }).filter(function (row) { return row.length; });
      var y = grid.findIndex(function (row) { return row.indexOf(at) >= 0; }), x = grid[y].indexOf(at);
      var row = grid[Math.max(0, Math.min(grid.length - 1, y + step[0]))];
      var next = row[Math.max(0, Math.min(row.length - 1, x + step[1]))];
      at.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  /* Cards of a large table are in a script of their own, which is read when the first one is wanted: a page opened
     as a file may read nothing else. Their texts are set as text. */
  var cards = {};
  window.perbench = { take: function (data) { cards[data.table] = data.cards; } };
  function readCards(table) {
    var places = new Map(), wanted = null, script = null;
    all("tbody td[data-v]", table).forEach(function (cell, place) { places.set(cell, place); });
    all("td a.s, td a.word", table).forEach(function (link) { if (table.dataset.grid !== undefined) link.tabIndex = -1; });
    function part(name, className, text) {
      var made = document.createElement(name);
      if (className) made.className = className;
      if (text !== undefined) { made.textContent = text; made.dir = "auto"; }
      return made;
    }
    function show(cell) {
      var card = cards[table.id][places.get(cell)], holder = cell.querySelector(".c, .v"), tip;
      if (!card || !holder || holder.querySelector(".tip")) return;
      tip = part("span", "tip");
      tip.appendChild(part("b", "", card[0]));
      card[1].forEach(function (line) {
        tip.appendChild(part("span", "kv1", line[0]));
        tip.appendChild(document.createTextNode(" "));
        tip.appendChild(part("span", "", line[1]));
        tip.appendChild(part("br"));
      });
      card[2].forEach(function (link) {
        var made = part("a", "", link[1]);
        made.href = link[0];
        tip.appendChild(made);
        tip.appendChild(document.createTextNode(" "));
      });
      holder.appendChild(tip);
    }
    function want(event) {
      wanted = event.target.closest("td");
      if (!wanted || !places.has(wanted)) return;
      if (cards[table.id]) { show(wanted); return; }
      if (script) return;
      script = document.createElement("script");
      script.src = table.dataset.cards;
      script.onload = function () { if (cards[table.id] && places.has(wanted)) show(wanted); };
      document.head.appendChild(script);
    }
    table.addEventListener("mouseover", want);
    table.addEventListener("focusin", want);
  }

  function copy(button, text) {
    var word = button.textContent;
    function said(what) { button.textContent = what; setTimeout(function () { button.textContent = word; }, 1500); }
    if (!navigator.clipboard) { said("Not allowed here"); return; }
    navigator.clipboard.writeText(text).then(function () { said("Copied"); }, function () { said("Not allowed here"); });
  }

  function apply() {
    readState();
    all("table[data-sort]").forEach(sortFromState);
    all("form[data-filter]").forEach(function (form) { fillForm(form); filter(form); });
  }

  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme");
    function dark() {
      return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    }
    function label() {
      button.textContent = dark() ? "Light" : "Dark";
      button.setAttribute("aria-label", "Switch to " + (dark() ? "light" : "dark") + " colours");
    }
    if (button) {
      label();
      button.addEventListener("click", function () {
        root.dataset.theme = dark() ? "light" : "dark";
        theme(root.dataset.theme);
        label();
      });
    }
    all("table[data-sort]").forEach(sortable);
    all("table[data-grid]").forEach(walk);
    all("table[data-cards]").forEach(readCards);
    all("form[data-filter]").forEach(function (form) {
      form.addEventListener("submit", function (event) { event.preventDefault(); });
      form.addEventListener("input", function () { filter(form); saveState(); });
    });
    all("[data-clear]").forEach(function (one) {
      one.addEventListener("click", function () {
        var form = document.querySelector('form[data-filter="' + one.dataset.clear + '"]');
        all("select, input", form).forEach(function (field) { if (field.type === "checkbox") field.checked = false; else field.value = ""; });
        filter(form);
        saveState();
      });
    });
    all("[data-link]").forEach(function (one) {
      one.addEventListener("click", function () {
        if (document.querySelector("form[data-filter]")) saveState();
        copy(one, location.href);
      });
    });
    all("[data-copy]").forEach(function (one) {
      one.addEventListener("click", function () { copy(one, document.getElementById(one.dataset.copy).textContent); });
    });
    document.addEventListener("click", function (event) {
      var cell = event.target.closest(".c, .v[tabindex]");
      if (cell && !event.target.closest("a")) cell.focus();
    });
    apply();
    addEventListener("hashchange", apply);
  });
})();

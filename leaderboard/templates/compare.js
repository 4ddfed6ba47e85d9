/* Two cells of one target side by side. Data come as classic scripts that call perbench.take(), because a page
   opened as a file may read no other. Everything from data is set as text, never as markup. */
(function () {
  "use strict";
  var PAGE = 50, ROWS = 24, SVG = "http://www.w3.org/2000/svg";
  var baseline = null, targets = [], answers = {}, prompts = {}, waiting = {}, shown = PAGE, current = null;
  var form, fields = {};

  window.perbench = {
    take: function (data) {
      if (data.targets) { targets = data.targets; baseline = data.baseline; }
      else if (data.cell) answers["c" + data.cell] = data.answers;
      else prompts["t" + data.target] = data.examples;
    }
  };

  function at(id) { return document.getElementById(id); }
  function element(name, className, text) {
    var made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) { made.textContent = text; made.dir = "auto"; }
    return made;
  }
  function drawn(name, attributes, text) {
    var made = document.createElementNS(SVG, name);
    Object.keys(attributes).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function clear(node) { while (node.firstChild) node.removeChild(node.firstChild); return node; }
  function number(value, digits, signed) {
    if (value === null || value === undefined) return "no score";
    var text = Math.abs(value).toFixed(digits);
    if (Number(text) === 0) return text;
    return (value < 0 ? "−" : signed ? "+" : "") + text;
  }
  function load(file, done) {
    if (waiting[file] === true) { done(); return; }
    if (waiting[file]) { waiting[file].push(done); return; }
    waiting[file] = [done];
    var script = document.createElement("script");
    script.src = file;
    script.onload = script.onerror = function () {
      var list = waiting[file];
      waiting[file] = true;
      list.forEach(function (one) { one(); });
    };
    document.head.appendChild(script);
  }

  /* ---------------------------------------------------------------- state */

  function read() {
    var state = {};
    location.hash.slice(1).split("&").forEach(function (part) {
      var place = part.indexOf("=");
      if (place < 1) return;
      try { state[part.slice(0, place)] = decodeURIComponent(part.slice(place + 1)); } catch (error) { /* not ours */ }
    });
    return state;
  }
  function write(state) {
    history.replaceState(null, "", "#" + ["a", "b", "s"].filter(function (key) { return state[key]; }).map(function (key) {
      return key + "=" + encodeURIComponent(state[key]);
    }).join("&"));
  }
  function cellOf(target, id) { return target.cells.filter(function (cell) { return cell.id === id; })[0]; }
  function targetOf(id) { return targets.filter(function (target) { return cellOf(target, id); })[0]; }
  function nameOf(cell, target) {
    var models = {}, seeds = {};
    target.cells.forEach(function (one) { models["m" + one.model] = 1; seeds["s" + one.seed] = 1; });
    return cell.name + (cell.variation ? " " + cell.variation : "") + (cell.source ? " ← " + cell.source : "") +
      (Object.keys(models).length > 1 ? " · " + cell.model : "") + (Object.keys(seeds).length > 1 ? " · seed " + cell.seed : "");
  }

  /* ---------------------------------------------------------------- selects */

  function options(select, list, chosen) {
    clear(select);
    list.forEach(function (one) {
      var option = element("option");
      option.textContent = one[1];
      option.value = one[0];
      select.appendChild(option);
    });
    select.value = chosen;
  }
  function fromHash() {
    var state = read(), target = targetOf(state.a) || targetOf(state.b) || targets[0];
    if (!target) { fault("No two cells can be compared."); return; }
    var a = cellOf(target, state.a), b = cellOf(target, state.b);
    if (state.a && !a || state.b && !b) fault("The address names a cell that is not here, or cells of different targets; others are shown.");
    else at("compare-fault").hidden = true;
    if (!a) a = target.cells.filter(function (cell) { return cell.base && cell !== b; })[0] || target.cells.filter(function (cell) { return cell !== b; })[0] || b;
    if (!b) b = cellOf(target, a.base) || target.cells.filter(function (cell) { return cell !== a; })[0] || a;
    choose(target, a, b, state.s);
  }
  function fault(text) { at("compare-fault").textContent = text; at("compare-fault").hidden = false; }
  function choose(target, a, b, sample) {
    var cells = target.cells.map(function (cell) { return [cell.id, nameOf(cell, target)]; });
    options(fields.t, targets.map(function (one) { return [String(one.number), one.name]; }), String(target.number));
    options(fields.a, cells, a.id);
    options(fields.b, cells, b.id);
    var files = ["target-" + target.number, a.id, b.id], open = 3;
    files.forEach(function (name) {
      load("data/samples/" + name + ".js", function () {
        open -= 1;
        if (!open) show(target, a, b, sample);
      });
    });
  }
  function changed(event) {
    var target = targets.filter(function (one) { return String(one.number) === fields.t.value; })[0];
    var same = event.target !== fields.t;
    write({ a: same ? fields.a.value : target.cells[target.cells.length - 1].id, b: same ? fields.b.value : "" });
    shown = PAGE;
    fromHash();
  }

  /* ---------------------------------------------------------------- what is shown */

  function show(target, a, b, sample) {
    var ofA = answers["c" + a.id], ofB = answers["c" + b.id], examples = prompts["t" + target.number];
    if (!ofA || !ofB || !examples) { fault("The samples could not be read; build the pages again."); return; }
    var pairs = Object.keys(ofA).filter(function (key) { return Object.prototype.hasOwnProperty.call(ofB, key); }).map(function (key) {
      var x = ofA[key].score, y = ofB[key].score;
      var example = Object.prototype.hasOwnProperty.call(examples, key) ? examples[key] : { id: key, prompt: [], persona: null };
      return { key: key, a: ofA[key], b: ofB[key], example: example, diff: x === null || y === null ? null : x - y };
    });
    pairs.sort(function (one, other) {
      if ((one.diff === null) !== (other.diff === null)) return one.diff === null ? 1 : -1;
      return Math.abs(other.diff) - Math.abs(one.diff) || other.diff - one.diff || (one.key < other.key ? -1 : 1);
    });
    current = { target: target, a: a, b: b, pairs: pairs };
    write({ a: a.id, b: b.id, s: sample });
    var names = a.name === b.name ? [nameOf(a, target), nameOf(b, target)] : [a.name, b.name];
    at("compare-name").textContent = names.join(" and ") + ", on the same " + pairs.length + (pairs.length === 1 ? " example" : " examples");
    points();
    chart();
    var place = pairs.map(function (pair) { return pair.key; }).indexOf(sample);
    shown = Math.max(shown, place + 1);
    list();
    if (place >= 0) at("s-" + sample).scrollIntoView();
  }
  function points() {
    var target = current.target, digits = target.digits, items = [];
    var scored = current.pairs.filter(function (pair) { return pair.diff !== null; });
    if (scored.length) {
      var sum = scored.reduce(function (all, pair) { return all + pair.diff; }, 0);
      items.push("Mean difference " + number(sum / scored.length, digits, true) + " " + target.metric + (target.better === "lower" ? " (lower is better)" : "") + " over " + scored.length + (scored.length === 1 ? " example" : " examples") + ", without a test.");
      var higher = scored.filter(function (pair) { return pair.diff > 0; }).length, lower = scored.filter(function (pair) { return pair.diff < 0; }).length;
      items.push(current.a.name + " scores higher on " + higher + ", equal on " + (scored.length - higher - lower) + ", lower on " + lower + ".");
    } else items.push("No example has a score by " + target.metric + " in both.");
    if (current.a.base === current.b.id && current.a.gain) items.push("Tested over users: gain over " + baseline + " " + current.a.gain + ".");
    var said = element("ul", "points verdict-points");
    items.forEach(function (text) { said.appendChild(element("li", "", text)); });
    clear(at("compare-points")).appendChild(said);
  }
  function chart() {
    var scored = current.pairs.filter(function (pair) { return pair.diff !== null; }).slice(0, ROWS), digits = current.target.digits;
    at("compare-chart").hidden = !scored.length;
    if (!scored.length) return;
    var values = [].concat.apply([], scored.map(function (pair) { return [pair.a.score, pair.b.score]; }));
    var low = Math.min.apply(null, values), high = Math.max.apply(null, values), width = 860, step = 26;
    if (low === high) { low -= 0.5; high += 0.5; }
    function x(value) { return 200 + (value - low) / (high - low) * 540; }
    var height = scored.length * step;
    var svg = drawn("svg", { "class": "pairs", viewBox: "0 0 " + width + " " + (height + 24), role: "img", "aria-label": "Scores of both models for each example; the numbers are with the answers below" });
    [low, (low + high) / 2, high].forEach(function (value) {
      svg.appendChild(drawn("line", { "class": "gridl", x1: x(value), x2: x(value), y1: 0, y2: height }));
      svg.appendChild(drawn("text", { x: x(value), y: height + 17, "text-anchor": "middle" }, number(value, digits)));
    });
    scored.forEach(function (pair, place) {
      var y = place * step + 13, name = String(pair.example.user || pair.example.id);
      var up = (pair.diff > 0) === (current.target.better !== "lower");
      var group = drawn("g", current.target.better && pair.diff ? { "class": up ? "up" : "down" } : {});
      svg.appendChild(drawn("text", { x: 0, y: y + 4 }, name.length > 26 ? name.slice(0, 25) + "…" : name));
      if (pair.diff) group.appendChild(drawn("line", { "class": "iv", x1: x(pair.b.score), x2: x(pair.a.score), y1: y, y2: y }));
      svg.appendChild(group);
      svg.appendChild(drawn("circle", { "class": "dot", cx: x(pair.b.score), cy: y, r: 5 }));
      if (pair.diff) group.appendChild(drawn("circle", { "class": "dot", cx: x(pair.a.score), cy: y, r: 5 }));
      svg.appendChild(drawn("text", { x: width, y: y + 4, "text-anchor": "end", "class": pair.diff ? "strong" : "" }, number(pair.diff, digits, true)));
    });
    clear(at("compare-pairs")).appendChild(svg);
    var most = current.pairs.length > ROWS ? "The " + ROWS + " largest differences. " : "";
    at("compare-key").textContent = most + "Filled: A, " + current.a.name + ", blue where it is better, orange where it is worse. Hollow: B, " + current.b.name + ". " + current.target.metric + ".";
  }
  function list() {
    var place = clear(at("compare-answers")), more = at("compare-more"), equal = null, count = 0;
    at("compare-list").hidden = false;
    current.pairs.slice(0, shown).forEach(function (pair, number_) {
      var article = example(pair, number_);
      if (pair.diff === 0 && pair.key !== read().s) {
        if (!equal) { equal = element("details", "how fold"); equal.appendChild(element("summary")); place.appendChild(equal); }
        equal.appendChild(article);
        count += 1;
        equal.firstChild.textContent = count + " more with equal scores";
      } else place.appendChild(article);
    });
    at("compare-order").textContent = "The largest difference first.";
    more.hidden = shown >= current.pairs.length;
    more.textContent = "Show " + Math.min(PAGE, current.pairs.length - shown) + " more of " + current.pairs.length;
  }
  function example(pair, place) {
    var article = element("article", "ex"), head = element("div", "exh"), title = element("h3"), digits = current.target.digits;
    article.id = "s-" + pair.key;
    var link = element("a", "name", String(pair.example.user || pair.example.id));
    link.href = "#a=" + current.a.id + "&b=" + current.b.id + "&s=" + pair.key;
    title.appendChild(link);
    head.appendChild(title);
    var difference = element("span");
    difference.appendChild(document.createTextNode("difference "));
    difference.appendChild(element("span", "sc", number(pair.diff, digits, true)));
    head.appendChild(difference);
    head.appendChild(element("span", "soft", (place + 1) + " of " + current.pairs.length));
    article.appendChild(head);
    var asked = element("div", "two"), given = element("div", "small"), wanted = element("div");
    if (pair.example.prompt.length) given.appendChild(element("h4", "", "Prompt"));
    pair.example.prompt.forEach(function (message) { given.appendChild(element("p", "", message[1])); });
    if (pair.example.persona && pair.example.persona.length) given.appendChild(folded("Persona", pair.example.persona));
    if (pair.example.reference) {
      wanted.appendChild(element("h4", "", "Reference"));
      wanted.appendChild(text(pair.example.reference, pair.example.referencePieces, "txt"));
    }
    asked.appendChild(given);
    asked.appendChild(wanted);
    article.appendChild(asked);
    var both = element("div", "two");
    both.appendChild(answer(current.a, pair.a));
    both.appendChild(answer(current.b, pair.b));
    article.appendChild(both);
    return article;
  }
  function folded(name, items) {
    var made = element("details", "more"), bullets = element("ul");
    made.appendChild(element("summary", "", name + ", " + items.length + (items.length === 1 ? " item" : " items")));
    items.forEach(function (item) { bullets.appendChild(element("li", "", item)); });
    made.appendChild(bullets);
    return made;
  }
  function text(whole, pieces, className) {
    var made = element("p", className, pieces && pieces.length ? "" : whole);
    (pieces || []).forEach(function (piece) {
      if (!piece[1]) { made.appendChild(document.createTextNode(piece[0])); return; }
      var mark = element("mark", "p" + piece[1]);
      mark.textContent = piece[0];
      mark.title = "PIR " + piece[2];
      made.appendChild(mark);
    });
    return made;
  }
  function answer(cell, given) {
    var made = element("div"), head = element("h4");
    var link = element("a", "", cell.name + (current.a.name === current.b.name ? " · seed " + cell.seed : ""));
    link.href = given.page;
    head.appendChild(link);
    head.appendChild(document.createTextNode(" · " + number(given.score, current.target.digits)));
    given.notes.forEach(function (note) { head.appendChild(document.createTextNode(" · ")); head.appendChild(element("span", "flag warn", note)); });
    made.appendChild(head);
    if (given.missing) made.appendChild(element("p", "flag bad", "missing, " + given.missing.replace(/_/g, " ")));
    if (given.turns.length) made.appendChild(dialogue(given.turns));
    else if (given.answer || !given.missing) made.appendChild(text(given.answer || "(empty)", given.pieces, "txt ref"));
    return made;
  }
  function dialogue(turns) {
    var made = element("ol", "turns");
    turns.forEach(function (turn) {
      var item = element("li");
      item.appendChild(element("p", "said", turn.message || "(no message)"));
      item.appendChild(turn.missing ? element("p", "flag bad", "missing, " + turn.missing.replace(/_/g, " ")) : element("p", "txt reply", turn.reply || "(empty)"));
      item.appendChild(element("p", "small soft", turn.scores));
      made.appendChild(item);
    });
    return made;
  }

  document.addEventListener("DOMContentLoaded", function () {
    form = at("compare");
    ["t", "a", "b"].forEach(function (name) { fields[name] = form.elements[name]; });
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("change", changed);
    at("compare-more").addEventListener("click", function () { shown += PAGE; list(); });
    addEventListener("hashchange", fromHash);
    load("data/samples/cells.js", fromHash);
  });
})();

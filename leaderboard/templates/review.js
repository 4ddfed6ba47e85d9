"use strict";
(() => {
  const main = document.getElementById("review"), by = id => document.getElementById(id);
  const items = JSON.parse(main.dataset.items), kinds = JSON.parse(main.dataset.kinds);
  // What would not be seen, or reorders what is; one character each is shown in its place, so that offsets hold.
  const hidden = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, shown = text => text.replace(hidden, "\ufffd");
  for (const item of items)
    Object.assign(item, { question: shown(item.question), answer: shown(item.answer), persona: item.persona.map(shown) });
  const answer = by("answer"), unsaved = new Map();
  let at = Math.max(0, items.findIndex(item => item.decision === "open")), current = 0;
  main.hidden = false;

  // Offsets are characters (code points) in the data, UTF-16 units in the page.
  const points = (text, units) => Array.from(text.slice(0, units)).length;
  const units = (text, count) => Array.from(text).slice(0, count).join("").length;
  const cut = (text, span) => Array.from(text).slice(span.start, span.end).join("");
  const make = (tag, text, fields = {}) => Object.assign(document.createElement(tag), { textContent: text }, fields);

  // ------------------------------------------------------------ saving

  let sending = Promise.resolve();
  const send = () => (sending = sending.then(async () => {
    for (const [id, body] of [...unsaved]) {
      try {
        const reply = await fetch("save", {
          method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
        });
        const answer = await reply.json();
        if (!reply.ok) throw new Error(answer.error);
        if (unsaved.get(id) === body) {
          unsaved.delete(id);
          Object.assign(items.find(item => item.id === id), answer);
        }
        by("trouble").textContent = "";
      } catch (error) {
        by("trouble").textContent = `Not saved: ${error.message}. Keep this page open, and try again when perbench runs.`;
        return;
      }
    }
  }));
  const save = (item, decision) => {
    unsaved.set(item.id, { id: item.id, decision, gold: item.gold });
    return send();
  };
  addEventListener("beforeunload", event => { if (unsaved.size) event.preventDefault(); });

  // ------------------------------------------------------------ showing

  const choice = (label, options, value, changed) => {
    const select = make("select", "");
    select.setAttribute("aria-label", label);
    select.append(...[["", `${label}?`], ...options].map(([key, text]) => make("option", text, { value: key })));
    select.value = value ?? "";
    select.addEventListener("change", () => changed(select.value));
    return select;
  };
  // What saving changes; the answer stays as it is drawn, with whatever is selected in it by now.
  const tell = () => {
    const item = items[at], count = name => items.filter(one => one.decision === name).length;
    by("progress").textContent =
      `Answer ${at + 1} of ${items.length}: ${count("accepted")} accepted, ${count("rejected")} rejected, ${count("open")} open.`;
    by("name").replaceChildren(`${shown(item.id)} `, make("span", item.decision, { className: "decision" }));
    by("faults").replaceChildren(...(item.faults ?? []).map(fault => make("li", fault)));
  };
  const marked = (text, spans, name) => {
    const letters = Array.from(text), piece = (from, to) => letters.slice(from, to).join("");
    const ends = [0, ...spans.map(span => span.end)];
    const parts = spans.flatMap((span, i) => [piece(ends[i], span.start), make("mark", piece(span.start, span.end), { className: name(span, i) })]);
    return [...parts, piece(ends.at(-1))];
  };
  const controls = id => [...by(id).querySelectorAll("button, select")];
  const show = () => {
    const focus = ["spans", "persona"].map(id => [id, controls(id).indexOf(document.activeElement)]).find(([, i]) => i >= 0);
    const item = items[at];
    current = Math.min(current, Math.max(0, item.gold.length - 1));
    by("question").textContent = item.question;
    by("persona").replaceChildren(...item.persona.map((sentence, place) => {
      const button = make("button", sentence, { type: "button" }), row = make("li", "");
      button.setAttribute("aria-pressed", String(item.gold[current]?.sentence === place));
      button.addEventListener("click", () => support(place));
      row.append(button);
      return row;
    }));
    answer.replaceChildren(...marked(item.answer, item.gold, (_, place) => (place === current ? "current" : "")));
    for (const [name, other] of item.first ? [["first", item.second], ["second", item.first]] : []) {
      const alone = span => !other.some(one => ["start", "end", "kind", "sentence"].every(key => one[key] === span[key]));
      by(name).replaceChildren(...marked(item.answer, item[name], span => (alone(span) ? "alone" : "")));
      by(`${name}-spans`).replaceChildren(...item[name].map(span => make("li",
        `${cut(item.answer, span)}: ${span.kind}, ${span.sentence + 1} ${item.persona[span.sentence]}${alone(span) ? " (only here)" : ""}`)));
    }
    by("spans").replaceChildren(...item.gold.map((span, place) => {
      const row = make("li", ""), line = make("div", "", { className: "row" });
      const remove = make("button", "Remove", { type: "button" });
      remove.setAttribute("aria-label", `Remove ${cut(item.answer, span)}`);
      remove.addEventListener("click", () => { current = place; drop(); });
      const to = name => value => {
        current = place;
        edit(item.gold.map((one, i) => (i === place ? { ...one, [name]: value === "" ? null : name === "kind" ? value : +value } : one)));
      };
      line.append(
        make("span", cut(item.answer, span), { className: "text" }),
        choice("Kind", kinds.map(kind => [kind, kind]), span.kind, to("kind")),
        choice("Sentence", item.persona.map((sentence, i) => [i, `${i + 1} ${sentence}`]), span.sentence, to("sentence")),
        remove);
      row.append(line);
      if (place === current) row.setAttribute("aria-current", "true");
      row.addEventListener("focusin", () => {
        if (current === place) return;
        current = place;
        [...by("spans").children].forEach((one, i) => (i === place ? one.setAttribute("aria-current", "true") : one.removeAttribute("aria-current")));
        [...answer.querySelectorAll("mark")].forEach((mark, i) => mark.classList.toggle("current", i === place));
      });
      return row;
    }));
    by("selected").textContent = "";
    tell();
    if (focus) (controls(focus[0])[focus[1]] ?? answer).focus();  // what had it was drawn anew
  };

  // ------------------------------------------------------------ deciding

  const edit = gold => {
    const item = items[at];
    Object.assign(item, { gold, decision: "open", faults: [] });
    show();
    return save(item, "open").then(tell);
  };
  const decide = async decision => {
    const item = items[at];
    await save(item, decision);
    if (items[at] === item && item.decision === decision && !unsaved.has(item.id)) {
      const open = [...items.keys()].map(i => (at + 1 + i) % items.length).find(i => items[i].decision === "open");
      if (open !== undefined) go(open - at);
    }
    tell();
  };
  const go = by_ => { at = Math.min(items.length - 1, Math.max(0, at + by_)); current = 0; getSelection().removeAllRanges(); show(); };
  const drop = () => edit(items[at].gold.filter((_, place) => place !== current));
  const take = name => {
    if (!items[at][name]) return;
    current = 0;
    edit(items[at][name].map(span => ({ ...span })));
  };
  const support = place => {
    if (place < items[at].persona.length && items[at].gold.length) {
      edit(items[at].gold.map((span, i) => (i === current ? { ...span, sentence: place } : span)));
    }
  };

  // The selected part of the answer in characters, without white space at its edges.
  const selected = () => {
    const chosen = getSelection(), text = items[at].answer;
    if (!chosen.rangeCount || chosen.isCollapsed) return null;
    const range = chosen.getRangeAt(0);
    if (!answer.contains(range.startContainer) || !answer.contains(range.endContainer)) return null;
    const before = document.createRange();
    before.setStart(answer, 0);
    before.setEnd(range.startContainer, range.startOffset);
    const inside = range.toString(), from = before.toString().length + (inside.length - inside.trimStart().length);
    const to = from + inside.trim().length;
    return from < to ? { start: points(text, from), end: points(text, to) } : null;
  };
  const select = (from, to) => {
    const place = offset => {
      const walker = document.createTreeWalker(answer, NodeFilter.SHOW_TEXT);
      let node = walker.nextNode();
      for (; offset > node.length; node = walker.nextNode()) offset -= node.length;
      return [node, offset];
    };
    getSelection().setBaseAndExtent(...place(from), ...place(to));
    by("selected").textContent = `Selected: ${items[at].answer.slice(from, to)}`;
  };
  const step = (by_, more) => {
    const text = items[at].answer, chosen = selected();
    const words = [...text.matchAll(/[\p{L}\p{N}_](?:\S*[\p{L}\p{N}_])?/gu)].map(match => [match.index, match.index + match[0].length]);
    if (!words.length) return;
    const [from, to] = chosen ? [units(text, chosen.start), units(text, chosen.end)] : [-1, -1];
    const first = words.findIndex(word => word[1] > from), last = words.findLastIndex(word => word[0] < to);
    const clamp = i => words[Math.min(words.length - 1, Math.max(0, i))];
    if (!chosen) select(...clamp(by_ > 0 ? 0 : words.length));
    else if (more) select(clamp(by_ < 0 ? first - 1 : first)[0], clamp(by_ > 0 ? last + 1 : last)[1]);
    else select(...clamp(by_ > 0 ? last + 1 : first - 1));
  };
  const mark = kind => {
    const span = selected(), gold = items[at].gold;
    if (!span) {
      if (gold.length) edit(gold.map((one, i) => (i === current ? { ...one, kind } : one)));
      return;
    }
    const kept = gold.filter(one => one.end <= span.start || span.end <= one.start);
    const all = [...kept, { ...span, kind, sentence: null }].sort((a, b) => a.start - b.start);
    current = all.findIndex(one => one.start === span.start);
    getSelection().removeAllRanges();
    edit(all);
  };

  const keys = {
    j: () => go(1), k: () => go(-1), a: () => decide("accepted"), r: () => decide("rejected"),
    f: () => take("first"), s: () => take("second"),
    u: () => { if (items[at].gold.length) drop(); }, e: () => by("export").click(),
    ArrowUp: () => { current = Math.max(0, current - 1); show(); }, ArrowDown: () => { current += 1; show(); },
  };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    if (!by("shortcuts").checked) return;
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
    if (digit && event.shiftKey) support(+digit[1] - 1);
    else if (digit && +digit[1] <= kinds.length) mark(kinds[+digit[1] - 1]);
    else if (event.key === "ArrowLeft") step(-1, event.shiftKey);
    else if (event.key === "ArrowRight") step(1, event.shiftKey);
    else if (Object.hasOwn(keys, event.key)) keys[event.key]();
    else return;
    event.preventDefault();
  });
  for (const [id, key] of [["accept", "a"], ["reject", "r"], ["next", "j"], ["previous", "k"]]) by(id).addEventListener("click", keys[key]);
  for (const name of ["first", "second"]) by(`take-${name}`)?.addEventListener("click", () => take(name));
  if (items.length) show();
})();

"use strict";
// Every text goes in by textContent: what a model wrote is shown, never run.
(() => {
  const { items, sounds, systems, metrics, dimensions } =
    JSON.parse(document.getElementById("items-data").textContent);
  const form = document.getElementById("items-filters");
  const list = document.getElementById("items-list");
  const count = document.getElementById("items-count");
  const end = document.getElementById("items-end");
  const BATCH = 25;
  const LONG = 1200;  // characters of an answer that is shown whole
  const OUTCOMES = ["right", "wrong", "between", "not scored"];

  const round = (value) => Math.round(value * 1e4) / 1e4;
  const make = (tag, text, kind) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  };
  const choice = (name, label, options) => {
    const box = make("label", label);
    const select = make("select");
    select.name = name;
    for (const [value, text] of options) {
      const option = make("option", text);
      option.value = value;
      select.append(option);
    }
    box.append(select);
    form.insertBefore(box, count);
    return select;
  };
  const ALL = [["", "all"]];
  const numbered = (names) => names.map((name, i) => [String(i), name]);
  const system = choice("system", "system", systems.length > 1 ? ALL.concat(numbered(systems)) : numbered(systems));
  const metric = choice("metric", "metric", numbered(metrics));
  const outcome = choice("outcome", "answer", ALL.concat(
    OUTCOMES.map((name) => [name, name])));
  const groups = dimensions.map((d, i) => choice("group" + i, d.name, ALL.concat(numbered(d.groups))));
  const box = make("label", "search");
  const search = make("input");
  search.type = "search";
  search.name = "search";
  box.append(search);
  form.insertBefore(box, count);

  const judge = (answer) => OUTCOMES[answer.outcomes[Number(metric.value)]];
  const shown = (item) =>
    item.answers.filter((a) => system.value === "" || a.system === Number(system.value));
  const haystack = (item) => item.text || (item.text = [item.id, item.question, item.target,
    item.transcription, ...item.answers.flatMap((a) => [a.output, a.note, ...a.replies])]
    .join("\n").toLowerCase());
  const matches = (item, words) =>
    groups.every((select, i) => select.value === "" || item.groups[i] === Number(select.value)) &&
    shown(item).some((a) => outcome.value === "" || judge(a) === outcome.value) &&
    words.every((word) => haystack(item).includes(word));

  const fold = (title, texts) => {
    const node = make("details");
    node.append(make("summary", title), ...texts.map((text) => make("pre", text)));
    return node;
  };
  const spoken = (answer) => {
    const text = answer.output === null ? "(no answer: " + answer.note + ")"
      : answer.output || "(empty)";
    if (text.length <= LONG && text.split("\n").length <= 20) return [make("span", text, "text")];
    const node = make("span", text, "text cut");
    const button = make("button", "all " + text.length.toLocaleString("en") + " characters");
    button.type = "button";
    button.addEventListener("click", () => {
      node.classList.remove("cut");
      button.remove();
    });
    return [node, button];
  };
  const draw = (item) => {
    const node = make("article", undefined, "item");
    node.tabIndex = -1;
    node.append(make("h3", item.id));
    node.append(make("span", item.groups.map((g, i) => g === null ? null : dimensions[i].groups[g])
      .filter((name) => name !== null).join(" · "), "tags"));
    for (const index of item.audio) {
      if (sounds[index] === null) {
        node.append(make("p", "This clip is not there to be played.", "soft"));
        continue;
      }
      const player = make("audio");
      player.controls = true;
      player.preload = "none";
      player.setAttribute("aria-label", "clip of " + item.id);
      player.src = sounds[index];
      node.append(player);
    }
    node.append(make("p", item.question));
    if (item.transcription) node.append(make("p", "What is said: " + item.transcription, "soft"));
    if (item.target) node.append(make("p", "Right is: " + item.target, "soft"));
    for (const answer of shown(item)) {
      const verdict = judge(answer);
      const value = answer.values[Number(metric.value)];
      const row = make("div", undefined, "answer");
      row.append(make("b", systems[answer.system]));
      row.append(make("span", verdict === "between" ? String(round(value)) : verdict, verdict));
      row.append(...spoken(answer));
      const said = [];
      if (answer.extracted !== null) said.push("taken to say: " + answer.extracted);
      if (answer.output !== null && answer.note) said.push("note: " + answer.note);
      metrics.forEach((r, i) => {
        const v = answer.values[i];
        if (v !== undefined) said.push(r + ": " + (v === null ? "not scored" : round(v)));
      });
      row.append(fold("score, prompt" + (answer.replies.length ? ", judge" : ""),
        [said.join("\n"), ...answer.prompt, ...answer.replies.map((r) => "judge: " + r)]));
      node.append(row);
    }
    return node;
  };

  let found = [];
  let drawn = 0;
  const more = () => {
    list.append(...found.slice(drawn, drawn + BATCH).map(draw));
    drawn = Math.min(drawn + BATCH, found.length);
    end.hidden = drawn >= found.length;
  };
  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter((word) => word);
    found = items.filter((item) => matches(item, words));
    drawn = 0;
    list.replaceChildren();
    count.textContent = found.length + " of " + items.length + " items";
    more();
  };
  let waiting;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const passed = form.parentNode.getBoundingClientRect().top < 0;
      update();
      if (passed) form.parentNode.scrollIntoView();  // else one looks at the end of what was found
    }, 120);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting) || end.hidden) return;
    more();
    watch.unobserve(end);  // else nothing is told where it stays in sight
    watch.observe(end);
  }, { rootMargin: "800px" });
  watch.observe(end);
  end.addEventListener("click", more);

  const step = (by) => {
    const nodes = [...list.children];
    const here = nodes.indexOf(document.activeElement.closest(".item"));
    const next = nodes[here < 0 ? 0 : here + by];
    if (!next) return;
    next.focus({ preventScroll: true });
    const above = getComputedStyle(form).position === "sticky" ? form.offsetHeight : 0;
    window.scrollBy(0, next.getBoundingClientRect().top - above);
  };
  const play = () => {
    const player = document.activeElement.closest(".item")?.querySelector("audio");
    if (player) player.paused ? player.play() : player.pause();
  };
  const KEYS = { j: () => step(1), k: () => step(-1), p: play, "/": () => search.focus() };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)
      || event.target.matches("input, select, textarea")) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  document.addEventListener("play", (event) => {
    for (const player of document.querySelectorAll("audio"))
      if (player !== event.target) player.pause();
  }, true);
  update();
})();

// What a script adds to pages that are whole without one: the viewer's zone, a search that answers
// while one types, numbers that follow the ticks, copying, the theme, keys.
(() => {
  "use strict";

  // ── times: in the viewer's zone, with UTC beside it ──
  const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const zoned = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });
  const zoneOf = (t) => zoned.formatToParts(t).find((p) => p.type === "timeZoneName")?.value ?? "";
  const today = (t) => day.format(t) === day.format(new Date());
  const two = (n) => String(n).padStart(2, "0");
  const utcClock = (t) => `${two(t.getUTCHours())}:${two(t.getUTCMinutes())}:${two(t.getUTCSeconds())}`;

  const timeText = (t) => {
    const date = today(t) ? "" : day.format(t) + " ";
    if (t.getTimezoneOffset() === 0) return `${date}${utcClock(t)} UTC`;
    const other = t.getUTCDate() === t.getDate() ? "" : `${t.getUTCFullYear()}-${two(t.getUTCMonth() + 1)}-${two(t.getUTCDate())} `;
    return `${date}${clock.format(t)} ${zoneOf(t)} (${other}${utcClock(t)} UTC)`;
  };

  const dress = (root) => {
    for (const e of root.querySelectorAll("time[datetime]")) {
      const t = new Date(e.dateTime);
      if (!Number.isNaN(t.getTime())) { e.title = e.dateTime; e.textContent = timeText(t); }
    }
    for (const e of root.querySelectorAll("button[data-copy]")) e.hidden = false;
  };

  // ── numbers that follow the ticks: the parts marked live are put in place of the old ones ──
  const lost = document.getElementById("lost");
  let turn = 0;

  const swap = (fresh) => {
    document.title = fresh.title;
    const icon = document.querySelector("link[rel=icon]"), next = fresh.querySelector("link[rel=icon]");
    if (icon && next && icon.getAttribute("href") !== next.getAttribute("href")) icon.setAttribute("href", next.getAttribute("href"));
    const held = document.activeElement;
    const heldBy = held && held !== document.body ? pathOf(held) : null;
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(old.id);
      if (!now) { old.replaceChildren(); continue; }
      for (const open of old.querySelectorAll("details[open][id]")) now.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
      const before = [...old.querySelectorAll("details:not([id])")].map((d) => d.open);
      [...now.querySelectorAll("details:not([id])")].forEach((d, i) => { d.open = before[i] ?? false; });
      dress(now);
      if (old.innerHTML !== now.innerHTML) old.replaceChildren(...document.adoptNode(now).childNodes);
    }
    if (heldBy && !document.contains(held)) find(heldBy)?.focus({ preventScroll: true });
    document.dispatchEvent(new CustomEvent("yoyu:tick"));
  };

  // pathOf says which of its kind an element is within its live part, so that the focus survives.
  const pathOf = (e) => {
    const live = e.closest("[data-live]");
    if (!live) return null;
    const kind = e.tagName + (e.getAttribute("href") ? `[href="${CSS.escape(e.getAttribute("href"))}"]` : "");
    return { id: live.id, kind, at: [...live.querySelectorAll(kind)].indexOf(e) };
  };
  const find = ({ id, kind, at }) => document.getElementById(id)?.querySelectorAll(kind)[at];

  const load = async (address) => {
    const mine = ++turn;
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(15000) });
      const text = await answer.text();
      if (mine !== turn) return; // somebody typed on
      if (!answer.ok && answer.status !== 404) throw new Error(`the answer is ${answer.status}`);
      lost.hidden = true;
      swap(new DOMParser().parseFromString(text, "text/html"));
    } catch (problem) {
      if (mine !== turn) return;
      lost.textContent = `yoyu does not answer: what stands here is old (${problem.message}).`;
      lost.hidden = false;
    }
  };

  const every = 10000; // milliseconds; an answer that says the same costs nothing
  setInterval(() => { if (!document.hidden) load(location.href); }, every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) load(location.href); });

  // ── search and filters: the address says what is shown, the server finds it ──
  const form = document.querySelector("form[data-filter]");
  if (form) {
    for (const e of form.querySelectorAll("[data-plain]")) e.hidden = true;
    const ask = () => {
      const asked = new URLSearchParams();
      for (const [name, value] of new FormData(form)) if (value) asked.set(name, value);
      const open = new URLSearchParams(location.search).getAll("open");
      for (const name of open) asked.append("open", name);
      const address = asked.size ? `./?${asked}` : "./";
      history.replaceState(null, "", address);
      load(location.href);
    };
    let waiting = 0;
    form.addEventListener("input", (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(ask, event.target.type === "search" ? 120 : 0);
    });
    form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(waiting); ask(); });
  }
  const fill = () => {
    if (!form) return;
    const asked = new URLSearchParams(location.search);
    for (const e of form.elements) if (e.name) e.value = asked.get(e.name) ?? "";
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-swap]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    fill();
    load(location.href);
  });
  addEventListener("popstate", () => { fill(); load(location.href); });

  // ── copying ──
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const says = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch { // no clipboard over plain HTTP: select it for the keys
      const text = button.parentElement.querySelector("pre");
      getSelection().selectAllChildren(text);
      button.textContent = "Selected: press Ctrl-C";
    }
    setTimeout(() => { button.textContent = says; }, 2000);
  });

  // ── theme ──
  const themes = ["system", "light", "dark"];
  const choose = document.querySelector("[data-theme-switch]");
  if (choose) {
    const now = () => document.documentElement.dataset.theme ?? "system";
    const say = () => { choose.textContent = { system: "◐ system", light: "○ light", dark: "● dark" }[now()]; choose.setAttribute("aria-label", `Theme: ${now()}`); };
    choose.hidden = false;
    say();
    choose.addEventListener("click", () => {
      const next = themes[(themes.indexOf(now()) + 1) % themes.length];
      if (next === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      try { next === "system" ? localStorage.removeItem("yoyu-theme") : localStorage.setItem("yoyu-theme", next); } catch { /* then for this page only */ }
      say();
      document.dispatchEvent(new CustomEvent("yoyu:theme"));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("yoyu:theme")));
  }

  // ── keys: / to the search, Escape empties it ──
  document.addEventListener("keydown", (event) => {
    const search = form?.elements.q;
    if (!search || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape" && document.activeElement === search) {
      search.value = "";
      form.requestSubmit();
    }
  });

  // A link from a row may lead to a block that is folded.
  const unfold = () => { const to = document.getElementById(location.hash.slice(1)); if (to?.tagName === "DETAILS") to.open = true; };
  addEventListener("hashchange", unfold);

  window.yoyu = { timeText, zoneOf, clock, day, utcClock };
  dress(document);
  unfold();
})();

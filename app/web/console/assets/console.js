// Keeps a page up to date: whenever the stream says that something happened (or some seconds passed), the page is asked
// for again and its live parts are put in place of the old ones. A part in which somebody types or marks a text is left
// alone. A page that nobody looks at holds no connection: a browser has only six for all tabs together.
"use strict";
(() => {
  const PAUSE_MS = 400;
  const AGAIN_MAX_MS = 30000;
  const main = document.getElementById("main");
  const said = document.getElementById("live");
  const every = Number(main.dataset.refreshS || 0) * 1000;
  let timer = null, busy = false, again = false;

  const inUse = (part) => {
    const focused = document.activeElement, marked = getSelection();
    return part.contains(focused) && focused.matches("input, select, button")
      || [...part.querySelectorAll("input:not([type=hidden])")].some((field) => field.value !== field.defaultValue)
      || marked && !marked.isCollapsed && marked.containsNode(part, true);
  };

  const replace = (part, next) => {
    const had = new Set([...part.querySelectorAll("[data-key]")].map((row) => row.dataset.key));
    const scrolled = [...part.querySelectorAll(".wide")].map((box) => box.scrollLeft);
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    if (had.size) for (const row of next.querySelectorAll("[data-key]")) {
      if (!had.has(row.dataset.key)) row.classList.add("fresh");
    }
    part.replaceWith(next);
    next.querySelectorAll(".wide").forEach((box, i) => { box.scrollLeft = scrolled[i] || 0; });
    if (focused) [...next.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus({ preventScroll: true });
  };

  const put = (fresh) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
      if (next && next.innerHTML !== part.innerHTML && !inUse(part)) replace(part, next);
    }
    const time = fresh.querySelector("footer time"), own = document.querySelector("footer time");
    if (time && own) own.replaceWith(time);
  };

  // What stands here is old: who looks at it must know.
  let old = false, usual = "";
  const stands = (why) => {
    if (why && !old) usual = said.textContent;
    if (why) said.textContent = `Not current: ${why}`;
    else if (old) said.textContent = usual;
    old = Boolean(why);
    said.className = old ? "state bad" : "";
  };

  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (answer.redirected) { location.reload(); return; }
      if (answer.ok) put(new DOMParser().parseFromString(await answer.text(), "text/html"));
      stands(answer.ok ? "" : `the service answers ${answer.status}`);
    } catch { stands("the service does not answer"); /* the next sign or the clock tries again */ }
    busy = false;
    if (again) { again = false; soon(); }
  };
  const soon = () => { if (timer === null) timer = setTimeout(() => { timer = null; refresh(); }, PAUSE_MS); };

  let source = null, tries = 0;
  const close = () => { source?.close(); source = null; };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(main.dataset.stream);
    source.onopen = () => { tries = 0; said.textContent = "Live"; };
    source.addEventListener("journal", soon);
    source.onerror = () => {
      said.textContent = "Not live: connecting again …";
      if (source?.readyState === EventSource.CLOSED) {
        close();
        tries += 1;
        setTimeout(() => { refresh(); open(); }, Math.min(1000 * 2 ** tries, AGAIN_MAX_MS));
      }
    };
  };
  const watch = () => { if (document.hidden) close(); else { refresh(); open(); } };

  if (main.dataset.stream) {
    open();
    addEventListener("pagehide", close);
  }
  if (every) {
    if (!main.dataset.stream) said.textContent = `Kept current every ${main.dataset.refreshS} s`;
    setInterval(() => { if (!document.hidden) refresh(); }, every);
    document.addEventListener("visibilitychange", main.dataset.stream ? watch : () => { if (!document.hidden) refresh(); });
  }

  // A sentence about the last form is shown once, not again after a reload.
  const shown = new URL(location.href);
  if (shown.searchParams.has("done")) {
    for (const name of ["done", "answered", "refused"]) shown.searchParams.delete(name);
    history.replaceState(null, "", shown);
  }

  // What stops, closes or gives up is asked for twice, unless its page was itself the question; and a form goes once,
  // however often the button is pressed (the server holds that too, by the key in the form).
  addEventListener("submit", (event) => {
    const form = event.target, button = form.querySelector("button.danger:not(.planned)");
    if (form.method !== "post") return;
    const what = document.querySelector("h1")?.textContent.trim().replace(/\s+/g, " ");
    if (form.dataset.sent || button && !confirm(`${button.textContent.trim()}?\n\n${what}`)) event.preventDefault();
    else form.dataset.sent = "yes";
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  addEventListener("keydown", (event) => {
    const box = document.getElementById("go");
    if (event.key === "/" && box && !event.target.matches("input, select, textarea")) {
      event.preventDefault();
      box.focus();
    }
  });
})();

"use strict";
// Keeps an open page true: parts of it come as HTML that the server made, times are shown in the reader's own zone.
(() => {
  const main = document.getElementById("main");
  const lost = document.getElementById("lost");
  const beat = document.getElementById("beat");
  const FORMS = {
    time: { hour: "2-digit", minute: "2-digit" },
    exact: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
    day: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  };
  const local = (when, form) => new Intl.DateTimeFormat(undefined, { ...FORMS[form], hourCycle: "h23" }).format(when);
  const times = (root) => {
    for (const item of root.querySelectorAll("time[data-form]")) {
      const when = new Date(item.dateTime);
      item.textContent = local(when, item.dataset.form);
      item.title = when.toString();
    }
    for (const item of root.querySelectorAll("[data-time]")) item.textContent = local(new Date(item.dataset.time), "time");
  };
  times(document);

  // What the reader has opened, scrolled and focused stays as it is when a part is replaced.
  const replace = (part, html) => {
    const open = [...part.querySelectorAll("details[data-keep][open]")].map((item) => item.dataset.keep);
    const scrolled = [...part.querySelectorAll(".scroll")].map((item) => [item.scrollLeft, item.scrollTop]);
    const places = (item) => [...item.querySelectorAll("a, button, summary, [tabindex]")];
    const focused = part.contains(document.activeElement) ? places(part).indexOf(document.activeElement) : -1;
    part.innerHTML = html;
    for (const name of open) part.querySelector(`details[data-keep="${CSS.escape(name)}"]`)?.setAttribute("open", "");
    part.querySelectorAll(".scroll").forEach((item, i) => {
      if (scrolled[i]) [item.scrollLeft, item.scrollTop] = scrolled[i];
    });
    if (focused >= 0) places(part)[focused]?.focus({ preventScroll: true });
    times(part);
  };

  const show = (parts) => {
    for (const [name, value] of Object.entries(parts)) {
      const part = document.querySelector(`[data-part="${name}"]`);
      if (part) replace(part, value);
      const shown = document.querySelector(`[data-shown="${name}"]`);
      if (shown) shown.dataset.status = value;
      if (name === "title") document.title = `${value} · Instructree`;
    }
    document.dispatchEvent(new CustomEvent("figures", { detail: parts }));
  };

  let since = null, seen = new Date();
  const trouble = (line) => {
    since ??= new Date();
    lost.className = "notice bad";
    lost.textContent = `${line} What you see is of ${local(seen, "exact")}.`;
    lost.hidden = false;
    document.body.classList.add("stale");
    beat.hidden = true;
  };
  const well = () => {
    seen = new Date();
    beat.hidden = false;
    beat.textContent = `live, ${local(seen, "exact")}`;
    if (since === null) return;
    lost.className = "notice good";
    lost.textContent = `Connected again after ${Math.max(1, Math.round((new Date() - since) / 1000))} s.`;
    since = null;
    document.body.classList.remove("stale");
    setTimeout(() => { if (since === null) lost.hidden = true; }, 6000);
  };

  const GONE = "The console does not answer; trying again.";
  const SILENT_MS = 8000; // longer than the server is ever silent: live.py
  let source, watch, again;
  const hear = () => {
    clearTimeout(watch);
    watch = setTimeout(() => { trouble(GONE); connect(); }, SILENT_MS);
  };
  const connect = () => {
    source?.close();
    clearTimeout(again);
    source = new EventSource(main.dataset.live);
    hear();
    source.addEventListener("figures", (event) => {
      hear();
      show(JSON.parse(event.data).parts);
      well();
    });
    source.addEventListener("trouble", (event) => {
      hear();
      trouble(JSON.parse(event.data).line);
    });
    source.addEventListener("error", () => {
      trouble(GONE);
      if (source.readyState === EventSource.CLOSED) refused();
    });
  };
  // The server said no instead of sending events: perhaps it has another token now.
  const refused = async () => {
    clearTimeout(watch);
    const answer = await fetch("/static/icon.svg", { cache: "no-store" }).catch(() => null);
    const inside = answer && (await fetch("/", { redirect: "manual", headers: { Accept: "text/html" } }).catch(() => null));
    if (inside && inside.type === "opaqueredirect") {
      lost.replaceChildren("The session has ended. ", Object.assign(document.createElement("a"), { href: location.href, textContent: "Log in again." }));
      return;
    }
    again = setTimeout(follow, 2000);
  };
  // A browser opens six connections to a host and no more: a page that nobody sees leaves its own to others.
  const follow = () => (document.hidden ? rest() : connect());
  const rest = () => {
    source?.close();
    clearTimeout(watch);
    clearTimeout(again);
  };
  if (main.dataset.live) {
    follow();
    document.addEventListener("visibilitychange", follow);
    addEventListener("pagehide", rest);
    addEventListener("pageshow", (event) => event.persisted && follow());
  }
})();

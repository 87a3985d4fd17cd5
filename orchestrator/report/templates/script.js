"use strict";
// Without this script the page still works: node links are anchors, and the style shows the panel they point to.
(() => {
  const open = (link, focus) => {
    const panel = document.getElementById(link.hash.slice(1));
    const bench = panel.closest(".bench");
    for (const old of bench.querySelectorAll(".panel.open")) old.classList.remove("open");
    for (const old of bench.querySelectorAll("a[aria-current]")) old.removeAttribute("aria-current");
    panel.classList.add("open");
    mark(panel);
    panel.parentElement.scrollTop = 0;
    if (focus) panel.focus({ preventScroll: true });
    const top = panel.getBoundingClientRect().top;
    if (top > innerHeight - 120 || top < 0) panel.scrollIntoView({ block: "start" });
  };
  const linkOf = (panel) => document.getElementById("m-" + panel.id);
  const mark = (panel) => linkOf(panel).setAttribute("aria-current", "true");
  const back = (link) => {
    link.scrollIntoView({ block: "nearest", inline: "center" });
    link.focus();
  };
  for (const panel of document.querySelectorAll(".panel.open")) mark(panel);

  const centre = (grove) => {
    const link = grove.querySelector("a.mark[aria-current]");
    const canvas = grove.querySelector(".canvas");
    if (!link || !canvas || canvas.scrollWidth <= canvas.clientWidth) return;
    const at = link.getBoundingClientRect(), box = canvas.getBoundingClientRect();
    canvas.scrollLeft += at.left + at.width / 2 - box.left - box.width / 2;
  };
  for (const grove of document.querySelectorAll(".grove")) {
    if (grove.open) centre(grove);
    grove.addEventListener("toggle", () => grove.open && centre(grove));
  }

  // Events inside <a> of an SVG have no offsetParent and no click(); closest() does work on them.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const id = (link.hash || link.getAttribute("href")).slice(1);
    const target = document.getElementById(id);
    if (!target) return;
    if (target.matches(".panel")) {
      event.preventDefault();
      open({ hash: "#" + id }, event.detail === 0 || !link.matches(".mark"));
    } else if (target.matches("a.mark")) {
      event.preventDefault();
      back(target);
    }
  });

  const step = (link, key) => {
    const all = [...link.ownerSVGElement.querySelectorAll("a.mark")];
    const idOf = (item) => item.id.slice(2);
    if (key === "ArrowLeft") return all.find((item) => idOf(item) === link.dataset.parent);
    if (key === "ArrowRight") return all.find((item) => item.dataset.parent === idOf(link));
    const siblings = all.filter((item) => item.dataset.parent === link.dataset.parent);
    return siblings[siblings.indexOf(link) + (key === "ArrowDown" ? 1 : -1)];
  };
  document.addEventListener("keydown", (event) => {
    const link = event.target.closest("a.mark");
    const panel = event.target.closest(".panel");
    if (link && event.key.startsWith("Arrow")) {
      event.preventDefault();
      const next = step(link, event.key);
      if (next) back(next);
    } else if (panel && event.key === "Escape") {
      back(linkOf(panel));
    }
  });
})();

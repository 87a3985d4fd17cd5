// Draws one tree on a canvas from compact columns, lets it be walked by mouse and keys, and plays its growth.
const grove = document.getElementById("grove");
const canvas = document.getElementById("tree");
const told = document.getElementById("told");
const at = document.getElementById("at");
const when = document.getElementById("when");
const moment = document.getElementById("moment");
const play = document.getElementById("play");
const brush = canvas.getContext("2d");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const HIDDEN = { "-1": "open", "-2": "unscored", "-3": "rejected", "-4": "failed" };

let tree = null;
let children = [];
let view = { x: 0, y: 0, scale: 1, tall: 1 };
let fitted = true;
let chosen = -1;
let hovered = -1;
let colours = {};
let wanted = 0;

const read = () => {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "ink", "muted", "line", "faint", "outline", "bad", "accent"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
  colours.shades = [...Array(9).keys()].map((i) => style.getPropertyValue(`--q${i}`).trim());
};

const here = () => Number(when.value);
const last = () => tree.seconds.length - 1;
const visible = (i) => tree.born[i] <= here();
const settled = (i) => tree.done[i] >= 0 && tree.done[i] <= here();

// --- geometry

const bounds = () => {
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < tree.nodes; i++) {
    left = Math.min(left, tree.x[i]);
    right = Math.max(right, tree.x[i]);
    top = Math.min(top, tree.y[i]);
    bottom = Math.max(bottom, tree.y[i]);
  }
  if (tree.layout === "rows") return { left, right, top, bottom };
  // Rings keep their seed in the middle.
  const reach = [Math.max(right, -left), Math.max(bottom, -top)];
  return { left: -reach[0], right: reach[0], top: -reach[1], bottom: reach[1] };
};
const MARGIN = 34;
const fit = () => {
  const box = bounds();
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const across = Math.max((box.right - box.left) / 10, 1);
  const down = Math.max((box.bottom - box.top) / 10, 1);
  const fits = [(width - 2 * MARGIN) / across, (height - 3 * MARGIN) / down];
  // From left to right, rows may stand further apart than columns are drawn together; rings stay round.
  const rows = tree.layout === "rows";
  const scale = rows ? Math.min(fits[0], 1.3) : Math.min(...fits, 40);
  const tall = rows ? Math.min(fits[1], 1.3) : scale;
  view = {
    scale,
    tall,
    x: width / 2 - ((box.left + box.right) / 20) * scale,
    y: height / 2 - ((box.top + box.bottom) / 20) * tall + (rows ? MARGIN / 2 : 0),
  };
  fitted = true;
};
const onView = (x, y) => [(x / 10) * view.scale + view.x, (y / 10) * view.tall + view.y];
const place = (i) => onView(tree.x[i], tree.y[i]);
// Small where there are many, never so small that it could not be seen or hit.
const radius = (i) => {
  const many = tree.layout === "rings";
  const unit = many ? Math.max(0.9, Math.min(6, 3.4 * view.scale)) : Math.max(2.5, Math.min(9, 7 * Math.min(view.scale, view.tall)));
  return unit * (0.75 + (many ? 1.4 : 1.1) * (tree.size[i] / 100)) + (tree.parent[i] < 0 ? 3 : 0);
};
const zoom = (factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) => {
  const scale = Math.max(0.01, Math.min(60, view.scale * factor));
  const real = scale / view.scale;
  view = { scale, tall: view.tall * real, x: x - (x - view.x) * real, y: y - (y - view.y) * real };
  fitted = false;
  ask();
};

// --- drawing

const ask = () => { wanted ||= requestAnimationFrame(draw); };
const draw = () => {
  wanted = 0;
  if (!tree?.nodes) return;
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (fitted) fit();
  }
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.clearRect(0, 0, width, height);
  edges();
  way();
  dots();
  names();
  if (chosen >= 0) ring(chosen, colours.accent, 2.5);
  if (hovered >= 0 && hovered !== chosen) ring(hovered, colours.ink, 1.5);
};
const path = (i) => {
  const [x, y] = place(i);
  const [px, py] = place(tree.parent[i]);
  brush.moveTo(px, py);
  if (tree.layout === "rows") {
    const bend = px + (x - px) * 0.34;
    brush.bezierCurveTo((px + bend) / 2, py, (px + bend) / 2, y, bend, y);
    brush.lineTo(x, y);
  }
  else {
    // Half-way out along the parent's angle, then along the child's.
    const [ax, ay, bx, by] = tree.bends[i];
    brush.bezierCurveTo(...onView(ax, ay), ...onView(bx, by), x, y);
  }
};
const bend = (i) => {
  const [p, far] = [tree.parent[i], Math.hypot(tree.x[i], tree.y[i])];
  const near = p < 0 ? 0 : Math.hypot(tree.x[p], tree.y[p]);
  const angle = Math.atan2(tree.y[i], tree.x[i]);
  const before = near ? Math.atan2(tree.y[p], tree.x[p]) : angle;
  const half = (near + far) / 2;
  return [half * Math.cos(before), half * Math.sin(before), half * Math.cos(angle), half * Math.sin(angle)];
};
const edges = () => {
  brush.strokeStyle = tree.layout === "rows" ? colours.faint : colours.line;
  brush.lineWidth = tree.nodes > 1500 ? Math.min(1, 0.35 + view.scale / 4) : 1;
  brush.beginPath();
  for (let i = 0; i < tree.nodes; i++) if (tree.parent[i] >= 0 && visible(i)) path(i);
  brush.stroke();
};
const way = () => {
  if (chosen < 0) return;
  brush.strokeStyle = colours.accent;
  brush.lineWidth = 2;
  brush.beginPath();
  for (let i = chosen; tree.parent[i] >= 0; i = tree.parent[i]) path(i);
  brush.stroke();
};
const dots = () => {
  for (let i = tree.nodes - 1; i >= 0; i--) if (visible(i)) dot(i);
};
const dot = (i) => {
  const [x, y] = place(i);
  if (x < -20 || y < -20 || x > canvas.clientWidth + 20 || y > canvas.clientHeight + 20) return;
  const r = radius(i);
  const shade = settled(i) ? tree.shade[i] : -1;
  brush.beginPath();
  if (tree.origin[i] === 1) brush.rect(x - r, y - r, 2 * r, 2 * r);
  else brush.arc(x, y, r, 0, 2 * Math.PI);
  if (shade >= 0) {
    brush.fillStyle = colours.shades[shade];
    brush.fill();
  } else {
    brush.fillStyle = colours.paper;
    brush.fill();
  }
  if (r > 2.2 || shade < 0) outline(i, x, y, r, shade);
  if (tree.fate[i] === 1 && settled(i)) ring(i, colours.ink, 1.5);
};
const outline = (i, x, y, r, shade) => {
  brush.lineWidth = shade === -1 ? 1.5 : 0.75;
  brush.strokeStyle = shade <= -3 ? colours.bad : shade === -1 ? colours.accent : colours.outline;
  brush.setLineDash(shade === -1 ? [2, 2] : []);
  brush.stroke();
  brush.setLineDash([]);
  if (shade > -3) return;
  const c = r * 0.6;
  brush.beginPath();
  brush.moveTo(x - c, y - c);
  brush.lineTo(x + c, y + c);
  if (shade === -4) { brush.moveTo(x + c, y - c); brush.lineTo(x - c, y + c); }
  brush.stroke();
};
const ring = (i, colour, width) => {
  const [x, y] = place(i);
  brush.strokeStyle = colour;
  brush.lineWidth = width;
  brush.beginPath();
  brush.arc(x, y, radius(i) + 2.5, 0, 2 * Math.PI);
  brush.stroke();
};
const names = () => {
  const room = tree.column * view.scale - 22;
  if (tree.layout !== "rows" || room < 40 || tree.row * view.tall < 22) return;
  brush.font = "11px system-ui, sans-serif";
  brush.textAlign = "right";
  for (let i = 0; i < tree.nodes; i++) {
    if (!visible(i) || tree.parent[i] < 0) continue;
    const [x, y] = place(i);
    const edge = x - radius(i) - 6;
    brush.lineWidth = 3;
    brush.strokeStyle = colours.paper;
    brush.fillStyle = colours.ink;
    line(short(nameOf(i), room), edge, y - 4);
    brush.fillStyle = colours.muted;
    line(settled(i) ? figure(i) : "in flight", edge, y + 12);
  }
};
const short = (name, room) => {
  let text = name;
  while (text.length > 2 && brush.measureText(text).width > room) text = `${text.replace("…", "").slice(0, -1)}…`;
  return text;
};
const line = (text, x, y) => { brush.strokeText(text, x, y); brush.fillText(text, x, y); };

// --- words

const nameOf = (i) => tree.parent[i] < 0 ? "seed" : tree.operator[i] < 0 ? "evolution" : tree.operators[tree.operator[i]].replaceAll("_", " ");
const figure = (i) => tree.reward[i] === null ? HIDDEN[tree.shade[i]] ?? "" : tree.reward[i].toFixed(2);
const spoken = (i) => {
  const value = !settled(i) ? "in flight" : tree.reward[i] === null ? figure(i) : `reward ${figure(i)}`;
  const kind = ["", "", ", simulation"][tree.origin[i]];
  const fate = ["", ", accepted row", ", row that waits", ", row turned down"][tree.fate[i]];
  return `${nameOf(i)}, depth ${tree.depth[i]}${kind}, ${value}, ${tree.visits[i]} visits, ${children[i].length} children${fate}`;
};
const say = (i) => { at.textContent = i < 0 ? `${count()} nodes` : spoken(i); };
const count = () => {
  let found = 0;
  for (let i = 0; i < tree.nodes; i++) found += visible(i) ? 1 : 0;
  return found.toLocaleString();
};

// --- choosing

const choose = (i, tell) => {
  chosen = i;
  say(i);
  const [x, y] = place(i);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (x < 20 || y < 20 || x > width - 20 || y > height - 20) {
    view.x += width / 2 - x;
    view.y += height / 2 - y;
    fitted = false;
  }
  ask();
  if (tell) open(i);
};
let asked = 0;
const open = async (i) => {
  const mine = ++asked;
  const key = tree.key[i];
  history.replaceState(null, "", `#${key}`);
  const answer = await fetch(`${grove.dataset.nodes}${key}?part=1`).catch(() => null);
  if (mine !== asked) return;
  if (!answer?.ok) {
    told.textContent = "This node cannot be read now. Choose it again in a moment.";
    return;
  }
  told.innerHTML = await answer.text();
  told.scrollTop = 0;
};
told.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-node]");
  const i = link && tree ? tree.key.indexOf(link.dataset.node) : -1;
  if (i < 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  choose(i, true);
});
const near = (x, y) => {
  let [best, distance] = [-1, 14 * 14];
  for (let i = 0; i < tree.nodes; i++) {
    if (!visible(i)) continue;
    const [px, py] = place(i);
    const d = (px - x) ** 2 + (py - y) ** 2 - radius(i) ** 2;
    if (d < distance) [best, distance] = [i, d];
  }
  return best;
};

const STEPS = {
  ArrowLeft: (i) => tree.parent[i],
  ArrowRight: (i) => children[i].find(visible) ?? -1,
  ArrowUp: (i) => sibling(i, -1),
  ArrowDown: (i) => sibling(i, 1),
  Home: () => 0,
};
const sibling = (i, step) => {
  if (tree.parent[i] < 0) return -1;
  const all = children[tree.parent[i]].filter(visible);
  const next = all[all.indexOf(i) + step];
  if (next !== undefined) return next;
  // At the end of a litter, go on to the next one of the same depth.
  const level = [...Array(tree.nodes).keys()].filter((j) => tree.depth[j] === tree.depth[i] && visible(j));
  return level[level.indexOf(i) + step] ?? -1;
};
canvas.addEventListener("keydown", (event) => {
  if (!tree?.nodes || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = STEPS[event.key];
  if (step) {
    const next = chosen < 0 ? 0 : step(chosen);
    if (next >= 0) choose(next, false);
  } else if (event.key === "Enter" || event.key === " ") choose(Math.max(chosen, 0), true);
  else if (event.key === "+" || event.key === "=") zoom(1.4);
  else if (event.key === "-") zoom(1 / 1.4);
  else if (event.key === "0") { fit(); ask(); }
  else return;
  event.preventDefault();
});

let drag = null;
canvas.addEventListener("pointerdown", (event) => {
  drag = { x: event.offsetX, y: event.offsetY, moved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!tree?.nodes) return;
  if (drag) {
    const [dx, dy] = [event.offsetX - drag.x, event.offsetY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    drag = { x: event.offsetX, y: event.offsetY, moved: true };
    view.x += dx;
    view.y += dy;
    fitted = false;
    ask();
    return;
  }
  const found = near(event.offsetX, event.offsetY);
  if (found === hovered) return;
  hovered = found;
  canvas.classList.toggle("over", found >= 0);
  say(found >= 0 ? found : chosen);
  ask();
});
canvas.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved && tree?.nodes) {
    const found = near(event.offsetX, event.offsetY);
    if (found >= 0) choose(found, true);
  }
  drag = null;
});
canvas.addEventListener("pointerleave", () => { hovered = -1; if (tree?.nodes) { say(chosen); ask(); } });
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (tree?.nodes) zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
}, { passive: false });
document.getElementById("in").addEventListener("click", () => zoom(1.4));
document.getElementById("out").addEventListener("click", () => zoom(1 / 1.4));
document.getElementById("all").addEventListener("click", () => { if (tree?.nodes) { fit(); ask(); } });

// --- growth

const show = () => {
  const seconds = tree.seconds[here()] ?? 0;
  const minutes = Math.floor(seconds / 60);
  const rest = minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const time = seconds < 60 ? `${seconds.toFixed(1)} s` : rest;
  moment.textContent = `${count()} nodes after ${time}`;
  when.setAttribute("aria-valuetext", moment.textContent);
  ask();
};
let playing = 0;
const stop = () => {
  clearInterval(playing);
  playing = 0;
  play.textContent = "Play";
  play.setAttribute("aria-pressed", "false");
};
play.addEventListener("click", () => {
  if (playing) return stop();
  if (!tree?.nodes) return;
  if (here() >= last()) when.value = 0;
  play.textContent = "Pause";
  play.setAttribute("aria-pressed", "true");
  // The whole growth in about eight seconds; in few, calm steps for whoever wants no motion.
  const every = calm.matches ? 1000 : 50;
  const step = Math.max(1, Math.ceil(last() / (8000 / every)));
  playing = setInterval(() => {
    when.value = Math.min(last(), here() + step);
    show();
    if (here() >= last()) stop();
  }, every);
});
when.addEventListener("input", () => { if (tree?.nodes) show(); });

// --- coming and changing

const legend = () => {
  const items = tree.legend.map(([shade, label], i) => {
    const item = document.createElement("li");
    const box = document.createElement("span");
    box.className = `swatch q${shade}`;
    item.append(box, label ? `to ${label}` : i ? "above" : "any");
    return item;
  });
  const title = document.createElement("li");
  title.textContent = "Reward";
  items.unshift(title);
  for (const [name, label] of [["open", "in flight"], ["turned", "turned down"], ["kept", "accepted row"]]) {
    const item = document.createElement("li");
    const box = document.createElement("span");
    box.className = `swatch ${name}`;
    item.append(box, label);
    items.push(item);
  }
  document.getElementById("legend").replaceChildren(...items);
};
let loading = false;
const load = async () => {
  if (loading) return;
  loading = true;
  const answer = await fetch(grove.dataset.shape).catch(() => null);
  loading = false;
  if (!answer?.ok) {
    at.textContent = "The tree cannot be read now; trying again.";
    setTimeout(load, 3000);
    return;
  }
  take(await answer.json());
};
const take = (found) => {
  const atEnd = !tree?.nodes || here() >= last();
  const key = tree?.nodes && chosen >= 0 ? tree.key[chosen] : location.hash.slice(1);
  const first = !tree?.nodes;
  tree = found;
  if (!tree.nodes) {
    at.textContent = "This tree has not begun to grow.";
    return;
  }
  children = Array.from({ length: tree.nodes }, () => []);
  for (let i = 0; i < tree.nodes; i++) if (tree.parent[i] >= 0) children[tree.parent[i]].push(i);
  tree.bends = tree.layout === "rings" ? tree.x.map((_, i) => bend(i)) : [];
  when.max = last();
  if (atEnd) when.value = last();
  chosen = key ? tree.key.indexOf(key) : -1;
  if (fitted) fit();
  legend();
  show();
  say(chosen);
  if (first) choose(Math.max(chosen, 0), true);
  canvas.dataset.drawn = tree.mark;
};
document.addEventListener("figures", (event) => {
  if (event.detail.mark && event.detail.mark !== tree?.mark) load();
});
new ResizeObserver(ask).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { read(); ask(); });
addEventListener("hashchange", () => {
  const i = tree?.nodes ? tree.key.indexOf(location.hash.slice(1)) : -1;
  if (i >= 0) choose(i, true);
});
read();
load();

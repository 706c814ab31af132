// Draws the figures, and asks for them again every half a second.

const $ = (id) => document.getElementById(id);
const svg = "http://www.w3.org/2000/svg";
let chosen = null; // start of the minute that was clicked; null: the last
let last = null;

// shape makes an element of the chart.
function shape(name, attributes, text) {
  const e = document.createElementNS(svg, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const number = (n) => n.toLocaleString();

// nice returns a round number that is at least n.
function nice(n) {
  const base = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return [1, 2, 5, 10].find((f) => f * base >= n) * base;
}

function chart(minutes) {
  const box = $("chart").getBoundingClientRect();
  const [w, h, left, right, bottom, top] = [box.width, box.height, 34, 44, 22, 10];
  const inner = { w: w - left - right, h: h - bottom - top };
  const most = nice(Math.max(...minutes.map((m) => m.value.visitors), 1));
  const slowest = nice(Math.max(...minutes.map((m) => m.value.p95), 1));
  const step = inner.w / Math.max(minutes.length, 10);
  const parts = [];
  for (let i = 0; i <= 4; i++) {
    const y = top + inner.h * (1 - i / 4);
    parts.push(shape("line", { class: "grid", x1: left, x2: w - right, y1: y, y2: y }));
    parts.push(shape("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, number(most * i / 4)));
    parts.push(shape("text", { x: w - right + 6, y: y + 4 }, number(slowest * i / 4) + " ms"));
  }
  const points = [];
  const every = Math.ceil(60 / step);
  minutes.forEach((m, i) => {
    const x = left + i * step;
    const height = inner.h * m.value.visitors / most;
    const bar = shape("rect", {
      class: "bar" + (m.pane === "early" ? " early" : "") + (m.start === chosen ? " chosen" : ""),
      x: x + step * .12, width: step * .76, y: top + inner.h - height, height, rx: Math.min(3, step * .2),
    });
    bar.append(shape("title", {}, describe(m)));
    bar.addEventListener("click", () => { chosen = chosen === m.start ? null : m.start; draw(last); });
    parts.push(bar);
    points.push([x + step / 2, top + inner.h * (1 - m.value.p95 / slowest)]);
    if (i % every === 0) parts.push(shape("text", { x: x + step / 2, y: h - 6, "text-anchor": "middle" }, clock(m.start)));
  });
  parts.push(shape("polyline", { points: points.map((p) => p.join()).join(" "), "pointer-events": "none" }));
  if (points.length > 0) {
    const [cx, cy] = points.at(-1);
    parts.push(shape("circle", { cx, cy, r: 3.5, "pointer-events": "none" }));
  }
  $("chart").setAttribute("viewBox", `0 0 ${w} ${h}`);
  $("chart").replaceChildren(...parts);
}

function describe(m) {
  return `${clock(m.start)}: ${number(m.value.visitors)} visitors, ${number(m.n)} views, p95 ${Math.round(m.value.p95)} ms`
    + (m.pane === "early" ? ", not ended" : "");
}

// bars draws a list of [name, number].
function bars(id, rows) {
  const most = Math.max(...rows.map(([, n]) => n), 1);
  $(id).replaceChildren(...rows.map(([name, n]) => {
    const li = document.createElement("li");
    const [label, bar, value] = ["span", "b", "i"].map((tag) => document.createElement(tag));
    label.textContent = name;
    bar.style.width = `${100 * n / most}%`;
    value.textContent = number(n);
    li.append(label, bar, value);
    return li;
  }));
}

function draw(figures) {
  last = figures;
  const minutes = figures.minutes ?? [];
  const ended = minutes.filter((m) => m.pane !== "early");
  const shown = minutes.find((m) => m.start === chosen) ?? ended.at(-1) ?? minutes.at(-1);
  $("views").textContent = number(minutes.reduce((sum, m) => sum + m.n, 0));
  $("done").textContent = ended.length;
  $("sessions").textContent = number(figures.sessions);
  if (ended.length > 0) {
    $("visitors").textContent = number(ended.at(-1).value.visitors);
    $("p95").textContent = Math.round(ended.at(-1).value.p95) + " ms";
  }
  chart(minutes);
  $("tip").textContent = shown ? describe(shown) : "Waiting for views.";
  $("which").textContent = shown ? "at " + clock(shown.start) : "";
  bars("pages", (shown?.value.top ?? []).map((p) => [p.value, p.n]));
  bars("lengths", Object.entries(figures.visits).map(([views, n]) => [views + (views === "1" ? " view" : " views"), n]).slice(0, 8));
  bars("users", (figures.users ?? []).map((u) => [u.user, u.sessions]));
}

async function ask() {
  try {
    const answer = await fetch("figures", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.status);
    draw(await answer.json());
    $("state").dataset.state = "live";
    $("state").lastElementChild.textContent = "live";
  } catch {
    $("state").dataset.state = "connecting";
    $("state").lastElementChild.textContent = "connecting";
  }
  setTimeout(ask, 500);
}
new ResizeObserver(() => { if (last) draw(last); }).observe($("chart"));
ask();

// The inbox of a user, by server-sent events. The browser reconnects by itself, and sends the last
// ID that it received.

const $ = (id) => document.getElementById(id);
const user = new URLSearchParams(location.search).get("user") ?? "ann";
const me = new URLSearchParams({ user });
const kept = 200; // notes in the inbox, as on the server
const toasts = 3;

if (![...$("user").options].some((o) => o.value === user)) $("user").add(new Option(user));
$("user").value = user;
$("user").onchange = () => { location.search = new URLSearchParams({ user: $("user").value }); };

function element(tag, text = "", props = {}) {
  const e = Object.assign(document.createElement(tag), props);
  e.textContent = text; // text of users is never parsed as HTML
  return e;
}

function state(name) {
  $("state").dataset.state = name;
  $("state").lastElementChild.textContent = name;
}

async function ask(path, options = {}) {
  const answer = await fetch(path, options.body === undefined ? options : {
    ...options, body: JSON.stringify(options.body), headers: { "Content-Type": "application/json" },
  });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// The inbox: notes by ID, and the IDs that are read. Both only grow, so every tab shows the same
// count, in whatever order the changes arrive.
const notes = new Map(), read = new Set();

function card(tag, n) {
  const e = element(tag, "", { className: "note" });
  e.dataset.kind = n.kind;
  e.append(element("strong", n.title), element("small", new Date(n.at).toLocaleTimeString([],
    { hour: "2-digit", minute: "2-digit", second: "2-digit" })), element("p", n.text));
  if (n.to === user) e.lastElementChild.prepend(element("mark", n.text ? "for you · " : "for you"));
  return e;
}

function add(n, live) {
  if (notes.has(n.id)) return;
  const li = card("li", n);
  const done = element("button", "Mark read", { className: "plain", type: "button" });
  done.onclick = () => mark([n.id]);
  li.append(done);
  notes.set(n.id, { ...n, li });
  const at = Date.parse(n.at);
  const after = [...$("feed").children].find((other) => Number(other.dataset.at) <= at);
  li.dataset.at = at;
  $("feed").insertBefore(li, after ?? null);
  if (notes.size > kept) {
    const oldest = [...notes.values()].reduce((a, b) => (a.at <= b.at ? a : b));
    notes.delete(oldest.id);
    oldest.li.remove();
  }
  if (!live || n.to !== user) return; // notes for everyone appear only in the inbox
  const t = card("div", n);
  $("toasts").append(t);
  while ($("toasts").children.length > toasts) $("toasts").firstElementChild.remove();
  setTimeout(() => t.remove(), 5000);
}

function count() {
  let unread = 0;
  for (const n of notes.values()) {
    n.li.classList.toggle("read", read.has(n.id));
    if (!read.has(n.id)) unread++;
  }
  $("count").textContent = unread;
  $("count").dataset.unread = unread;
  $("all").disabled = unread === 0;
  document.title = unread ? `(${unread}) Notify` : "Notify";
}

async function mark(ids) {
  if (ids.length === 0) return;
  try {
    await ask("read?" + me, { method: "POST", body: ids });
  } catch (err) {
    $("problem").textContent = err.message;
  }
}
$("all").onclick = () => mark([...notes.keys()].filter((id) => !read.has(id)));

async function load() {
  const inbox = await ask("inbox?" + me);
  for (const id of inbox.read) read.add(id);
  for (const n of inbox.notes) add(n, false);
  count();
}

let last = ""; // ID of the last event
function connect() {
  const events = new EventSource("events?" + new URLSearchParams({ user, "last-event-id": last }));
  // The inbox is asked for when events flow, so nothing can come between.
  events.onopen = () => load().then(() => state("live"), () => { events.close(); again(); });
  const on = (type, f) => events.addEventListener(type, (e) => {
    last = e.lastEventId;
    f(JSON.parse(e.data));
    count();
  });
  on("note", (n) => add(n, true));
  on("read", ({ ids }) => ids.forEach((id) => read.add(id)));
  on("gap", () => load());
  events.onerror = () => {
    state("connecting");
    if (events.readyState === EventSource.CLOSED) again(); // it does not retry after an answer such as 503
  };
}
function again() { setTimeout(connect, 1000 + 2000 * Math.random()); }
connect();

$("send").onsubmit = async (e) => {
  e.preventDefault();
  $("problem").textContent = "";
  try {
    await ask("notes", { method: "POST", body: Object.fromEntries(new FormData($("send"))) });
  } catch (err) {
    $("problem").textContent = err.message;
  }
};

// The preferences: a box for each kind and channel, and the quiet hours.
const kinds = ["info", "success", "warning"], channels = ["mail", "push", "webhook", "digest"];
for (const kind of kinds) {
  const row = element("tr");
  row.append(element("th", kind, { scope: "row" }));
  for (const channel of channels) {
    const cell = element("td");
    const box = element("input", "", { type: "checkbox", name: kind, value: channel, ariaLabel: `${kind} by ${channel}` });
    cell.append(box);
    row.append(cell);
  }
  $("preferences").querySelector("tbody").append(row);
}
const boxes = [...$("preferences").querySelectorAll("input[type=checkbox]")], { from, to } = $("preferences").elements;
const minutes = (e) => from.value && to.value ? e.valueAsNumber / 60_000 : 0;
const wanted = () => ({
  kinds: Object.fromEntries(kinds.map((kind) =>
    [kind, boxes.filter((b) => b.name === kind && b.checked).map((b) => b.value)])),
  quiet: { from: minutes(from), to: minutes(to), offset: -new Date().getTimezoneOffset() },
});

async function prefer() {
  try {
    const p = await ask("preferences?" + me);
    for (const b of boxes) b.checked = (p.kinds?.[b.name] ?? []).includes(b.value);
    if (p.quiet.from !== p.quiet.to) for (const e of [from, to]) e.valueAsNumber = p.quiet[e.name] * 60_000;
    $("preferences").dataset.loaded = "yes";
  } catch {
    setTimeout(prefer, 2000);
  }
}
prefer();
$("preferences").onchange = async () => {
  $("saved").textContent = "";
  try {
    await ask("preferences?" + me, { method: "PUT", body: wanted() });
    $("saved").textContent = "Saved.";
  } catch (err) {
    $("saved").textContent = err.message;
  }
};

// The providers.
const modes = { ok: "OK", failing: "Failing", limited: "Limited" };
const counters = { accepted: "delivered", duplicates: "repeats refused", failed: "failed", limited: "limited", waiting: "waiting", dead: "dead" };
const rows = new Map();

function row(p) {
  const e = element("fieldset");
  e.id = "provider-" + p.name;
  e.append(element("legend", p.name));
  const choice = element("div", "", { className: "modes" });
  for (const [mode, text] of Object.entries(modes)) {
    const label = element("label");
    const input = element("input", "", { type: "radio", name: "mode-" + p.name, value: mode });
    input.onchange = () => ask("providers/" + p.name, { method: "PUT", body: mode }).then(watch, () => {});
    label.append(input, element("span", text));
    choice.append(label);
  }
  e.append(choice, element("dl"));
  $("panel").append(e);
  return e;
}

async function watch() {
  const { providers, log } = await ask("providers");
  for (const p of providers) {
    if (!rows.has(p.name)) rows.set(p.name, row(p));
    const e = rows.get(p.name);
    e.dataset.mode = p.mode;
    for (const input of e.querySelectorAll("input")) input.checked = input.value === p.mode;
    e.querySelector("dl").replaceChildren(...Object.entries(counters).map(([name, text]) => {
      const pair = element("div");
      pair.dataset.count = name;
      pair.append(element("dd", p[name]), element("dt", text));
      return pair;
    }));
  }
  $("log").replaceChildren(...log.map((line) => element("li", line)));
}
(async function poll() {
  if (!document.hidden) await watch().catch(() => {});
  setTimeout(poll, 1000);
})();

// The page is a client of the resource. It keeps only state that the resource has returned.

const $ = (id) => document.getElementById(id);
const list = $("items");
let items = [];
let show = "all";

// call sends a request to the resource, and shows the exchange.
async function call(method, path, body, version) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (version) headers["If-Match"] = `"${version}"`;
  const began = performance.now();
  let status = "no answer";
  try {
    const reply = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    status = reply.status;
    const value = status === 204 ? null : await reply.json();
    if (!reply.ok) throw new Error(value.error.message);
    problem("");
    return value;
  } catch (e) {
    problem(status === "no answer" ? "The server does not answer." : e.message);
    throw e;
  } finally {
    wire(method, path, status, performance.now() - began);
  }
}

function problem(text) {
  $("problem").textContent = text && text[0].toUpperCase() + text.slice(1);
  $("problem").hidden = !text;
}

function wire(method, path, status, took) {
  const line = document.createElement("li");
  for (const [name, text] of [["method", method], ["path", path], [status < 400 ? "ok" : "bad", status], ["took", `${took.toFixed(1)} ms`]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    line.append(part);
  }
  $("wire").prepend(line);
  while ($("wire").children.length > 6) $("wire").lastChild.remove();
}

const item = (id) => items.find((it) => it.id === id);

// render shows the current list. It keeps existing rows, because the user may be about to click on
// them, or edit them.
function render() {
  const shown = items.filter((it) => show === "all" || it.done === (show === "done"));
  const rows = shown.map((it) => fill(list.querySelector(`[data-id="${it.id}"]`) ?? row(it.id), it));
  for (const li of [...list.children]) if (!rows.includes(li)) li.remove();
  rows.forEach((li, i) => {
    if (list.children[i] !== li) list.insertBefore(li, list.children[i] ?? null);
  });
  const open = items.filter((it) => !it.done).length;
  $("count").textContent = items.length ? `${open} open, ${items.length - open} done` : "";
  $("empty").hidden = shown.length > 0;
}

function row(id) {
  const li = $("item").content.cloneNode(true).firstElementChild;
  li.dataset.id = id;
  li.tabIndex = 0;
  li.querySelector("input").addEventListener("change", () => toggle(item(id)));
  li.querySelector(".title").addEventListener("dblclick", () => edit(li));
  li.querySelector(".edit").addEventListener("click", () => edit(li));
  li.querySelector(".remove").addEventListener("click", () => remove(li));
  return li;
}

function fill(li, it) {
  li.classList.toggle("done", it.done);
  li.querySelector("input").checked = it.done;
  const title = li.querySelector(".title"); // missing while it is edited
  if (title) title.textContent = it.title;
  return li;
}

async function load() {
  items = await call("GET", "/todos");
  render();
}

// settle performs an action. If the action fails, it reloads the list and shows the problem.
async function settle(act) {
  try {
    await act();
  } catch (e) {
    await load();
    problem(e.message);
  }
}

function put(changed) {
  items = items.map((it) => (it.id === changed.id ? changed : it));
  render();
}

const toggle = (it) => settle(async () => put(await call("PATCH", `/todos/${it.id}`, { done: !it.done }, it.version)));

async function remove(li) {
  const { id } = li.dataset;
  await settle(async () => {
    await call("DELETE", `/todos/${id}`);
    const next = li.nextElementSibling ?? li.previousElementSibling ?? $("title");
    if (li.contains(document.activeElement)) next.focus();
    items = items.filter((other) => other.id !== id);
    render();
  });
}

function edit(li) {
  const it = item(li.dataset.id);
  const title = li.querySelector(".title");
  if (!title) return; // it is already being edited
  const input = document.createElement("input");
  input.type = "text";
  input.maxLength = 100;
  input.value = it.title;
  input.setAttribute("aria-label", "Title");
  title.replaceWith(input);
  input.select();
  let over = false;
  const end = async (keep) => {
    if (over) return;
    over = true;
    const text = input.value.trim();
    const stay = document.activeElement === input; // after a click elsewhere, the focus is already there
    const changed = keep && text && text !== it.title;
    title.textContent = changed ? text : item(it.id)?.title;
    input.replaceWith(title);
    if (stay) li.focus();
    if (changed) await settle(async () => put(await call("PATCH", `/todos/${it.id}`, { title: text }, it.version)));
  };
  let held = true; // the key that started the editing types nothing while it is held
  input.addEventListener("keydown", (e) => {
    e.stopPropagation();
    held &&= e.repeat;
    if (held) e.preventDefault();
    else if (e.key === "Enter") end(true);
    else if (e.key === "Escape") end(false);
  });
  input.addEventListener("blur", () => end(true));
}

$("add").addEventListener("submit", async (e) => {
  e.preventDefault();
  const title = $("title").value.trim();
  if (!title) return;
  try {
    items.push(await call("POST", "/todos", { title }));
    $("title").value = "";
    render();
  } catch {
    $("title").select(); // the problem is shown
  }
});

for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    show = button.dataset.show;
    for (const other of document.querySelectorAll("[data-show]")) other.setAttribute("aria-pressed", other === button);
    render();
  });
}

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input[type=text], #title")) {
    if (e.key === "Escape") e.target.blur();
    if (e.key === "ArrowDown" && e.target.id === "title") list.firstElementChild?.focus();
    return;
  }
  const li = e.target.closest("#items li");
  const it = li && item(li.dataset.id);
  const keys = {
    n: () => $("title").focus(),
    ArrowDown: () => (li ? li.nextElementSibling : list.firstElementChild)?.focus(),
    ArrowUp: () => (li ? (li.previousElementSibling ?? $("title")) : list.lastElementChild)?.focus(),
    " ": it && e.target === li && (() => toggle(it)),
    e: it && (() => edit(li)),
    Delete: it && (() => remove(li)),
  };
  const act = keys[e.key];
  if (act) {
    e.preventDefault();
    if (!e.repeat || e.key.startsWith("Arrow")) act();
  }
});

load().catch(() => {}); // the problem is shown

// The page is a client of the resource, and keeps nothing that the resource does not say.

const $ = (id) => document.getElementById(id);
const list = $("items");
let items = [];
let show = "all";

// call asks the resource, and shows what went over the wire.
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

// render draws the list anew, and keeps the focus where it was.
function render(focus = document.activeElement?.closest?.("#items li")?.dataset.id) {
  const shown = items.filter((it) => show === "all" || it.done === (show === "done"));
  list.replaceChildren(...shown.map(row));
  const open = items.filter((it) => !it.done).length;
  $("count").textContent = items.length ? `${open} open, ${items.length - open} done` : "";
  $("empty").hidden = shown.length > 0;
  if (focus) list.querySelector(`[data-id="${focus}"]`)?.focus();
}

function row(it) {
  const li = $("item").content.cloneNode(true).firstElementChild;
  li.dataset.id = it.id;
  li.tabIndex = 0;
  li.classList.toggle("done", it.done);
  li.querySelector(".title").textContent = it.title;
  const box = li.querySelector("input");
  box.checked = it.done;
  box.addEventListener("change", () => toggle(it));
  li.querySelector(".title").addEventListener("dblclick", () => edit(it, li));
  li.querySelector(".edit").addEventListener("click", () => edit(it, li));
  li.querySelector(".remove").addEventListener("click", () => remove(it, li));
  return li;
}

async function load() {
  items = await call("GET", "/todos");
  render();
}

// settle does something, and has the list as the resource has it whatever came of it.
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
  render(changed.id);
}

const toggle = (it) => settle(async () => put(await call("PATCH", `/todos/${it.id}`, { done: !it.done }, it.version)));

async function remove(it, li) {
  const next = (li.nextElementSibling ?? li.previousElementSibling)?.dataset.id;
  await settle(async () => {
    await call("DELETE", `/todos/${it.id}`);
    items = items.filter((other) => other.id !== it.id);
    render(next);
    if (!next) $("title").focus();
  });
}

function edit(it, li) {
  const input = document.createElement("input");
  input.type = "text";
  input.maxLength = 100;
  input.value = it.title;
  input.setAttribute("aria-label", "Title");
  li.querySelector(".title").replaceWith(input);
  input.select();
  let over = false;
  const end = async (keep) => {
    if (over) return;
    over = true;
    const title = input.value.trim();
    if (!keep || title === "" || title === it.title) return render(it.id);
    await settle(async () => put(await call("PATCH", `/todos/${it.id}`, { title }, it.version)));
  };
  input.addEventListener("keydown", (e) => {
    e.stopPropagation();
    if (e.key === "Enter") end(true);
    if (e.key === "Escape") end(false);
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
  const it = li && items.find((it) => it.id === li.dataset.id);
  const keys = {
    n: () => $("title").focus(),
    ArrowDown: () => (li ? li.nextElementSibling : list.firstElementChild)?.focus(),
    ArrowUp: () => (li ? (li.previousElementSibling ?? $("title")) : list.lastElementChild)?.focus(),
    " ": it && e.target === li && (() => toggle(it)),
    e: it && (() => edit(it, li)),
    Delete: it && (() => remove(it, li)),
  };
  const act = keys[e.key];
  if (act) {
    e.preventDefault();
    act();
  }
});

load().catch(() => {}); // the problem is shown

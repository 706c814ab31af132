const $ = (id) => document.getElementById(id);
const jobs = new Map(); // id to {job, item}
const names = new Map(JSON.parse(sessionStorage.getItem("names") ?? "[]")); // id to the name of a picture
const states = ["scheduled", "queued", "running", "retrying", "done", "failed", "cancelled"];
const ended = new Set(["done", "failed", "cancelled"]);
const shown = 120; // jobs on the page

function problem(text) { $("problem").textContent = text; }

async function ask(method, path, body) {
  try {
    const r = await fetch(path, { method, body, headers: body ? { "Content-Type": "application/json" } : {} });
    const answer = await r.json();
    if (!r.ok) throw new Error(answer.error?.message ?? r.statusText);
    return answer;
  } catch (e) {
    problem(e.message);
    return null;
  }
}

async function submit(picture) {
  problem("");
  const job = await ask("POST", "jobs?priority=" + $("priority").value, JSON.stringify(picture));
  if (!job) return false;
  names.set(job.id, picture.name);
  sessionStorage.setItem("names", JSON.stringify([...names].slice(-shown)));
  show(job);
  return true;
}

function seed() { return 1 + Math.floor(Math.random() * 1e9); }

async function generate(n, jams) {
  for (let i = 0; i < n; i++) {
    const s = seed();
    if (!await submit({ name: "picture " + s % 10000, seed: s, jams: jams ?? (i % 7 === 3 ? 1 : 0) })) return;
  }
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const r = new FileReader();
    r.onload = () => resolve(r.result.split(",")[1] ?? "");
    r.onerror = () => reject(r.error);
    r.readAsDataURL(file);
  });
}

async function upload(files) {
  for (const f of files) {
    if (f.size > 5e6) problem(f.name + " is larger than 5 MB");
    else if (f.size > 0) await submit({ name: f.name, data: await base64(f) });
  }
}

function make(job) {
  const li = document.createElement("li");
  li.innerHTML = `<div class="view"></div><div class="name"><span></span><small></small></div>
    <button type="button">Cancel</button><progress max="1"></progress><div class="said"></div>`;
  li.querySelector("button").onclick = () => ask("DELETE", "jobs/" + job.id);
  const entry = { job, item: li };
  jobs.set(job.id, entry);
  $("jobs").prepend(li);
  while ($("jobs").children.length > shown) $("jobs").lastChild.remove();
  return entry;
}

function said(j) {
  const p = j.progress ?? {}, of = p.leaves > 1 ? `${p.settled ?? 0} of ${p.leaves}` : "";
  const at = j.attempt > 1 ? `attempt ${j.attempt}` : "";
  const list = (...parts) => parts.filter(Boolean).join(" · ");
  switch (j.state) {
    case "running": return list(of, p.stages?.join(", "), at);
    case "retrying": {
      const wait = Math.max(0, Math.ceil((new Date(j.failure.retry) - Date.now()) / 1000));
      return list(j.failure.error.replace(/^retry after [^:]*: /, ""), `again in ${wait} s`);
    }
    case "failed": return j.failure?.error.replace(/^rejected: /, "") ?? "failed";
    case "done": return list(`${p.leaves ?? 0} thumbnails`, at);
  }
  return j.state;
}

function fraction(j) {
  const p = j.progress ?? {};
  if (j.state === "retrying") return 0; // the next attempt makes all of it again
  return j.state === "done" ? 1 : p.total ? p.done / p.total : p.leaves > 1 ? (p.settled ?? 0) / p.leaves : 0;
}

function show(job) {
  let entry = jobs.get(job.id);
  if (entry && entry.job.version > job.version) return;
  entry ??= make(job);
  entry.job = job;
  const li = entry.item;
  li.dataset.state = job.state;
  li.querySelector(".name span").textContent = names.get(job.id) ?? job.id.slice(-6);
  li.querySelector("small").textContent = job.priority;
  li.querySelector("button").hidden = ended.has(job.state);
  const bar = li.querySelector("progress");
  bar.value = fraction(job);
  bar.setAttribute("aria-label", "progress of " + (names.get(job.id) ?? job.id));
  li.querySelector(".said").textContent = said(job);
  const view = li.querySelector(".view");
  if (job.state === "done" && !view.firstChild) {
    const img = new Image();
    img.alt = "";
    img.src = `thumbs/${job.id}/128`;
    view.append(img);
  }
  count();
}

let counting = false;
function count() {
  if (counting) return;
  counting = true;
  requestAnimationFrame(() => {
    counting = false;
    $("empty").hidden = jobs.size > 0;
    const n = Object.fromEntries(states.map((s) => [s, 0]));
    for (const { job } of jobs.values()) n[job.state]++;
    $("counts").replaceChildren(...states.filter((s) => n[s] || s === "queued" || s === "done").map((s) => {
      const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = s;
      dd.textContent = n[s];
      dd.dataset.count = s;
      div.append(dt, dd);
      return div;
    }));
  });
}

function connect() {
  const events = new EventSource("jobs");
  const state = (s) => {
    $("state").dataset.state = s;
    $("state").lastChild.textContent = s;
  };
  events.onopen = () => state("live");
  events.addEventListener("job", (e) => show(JSON.parse(e.data)));
  events.onerror = () => {
    state("connecting");
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

$("twenty").onclick = () => generate(20);
$("jam").onclick = () => generate(1, 2);
$("stop").onclick = () => Promise.all([...jobs.values()].filter(({ job }) => !ended.has(job.state)).map(({ job }) => ask("DELETE", "jobs/" + job.id)));
$("file").onchange = async () => { await upload($("file").files); $("file").value = ""; };
const drop = $("drop");
for (const over of ["dragover", "dragenter"]) drop.addEventListener(over, (e) => { e.preventDefault(); drop.classList.add("over"); });
for (const out of ["dragleave", "drop"]) drop.addEventListener(out, () => drop.classList.remove("over"));
drop.addEventListener("drop", (e) => { e.preventDefault(); upload(e.dataTransfer.files); });
setInterval(() => { // the time until a retry
  for (const { job, item } of jobs.values()) if (job.state === "retrying") item.querySelector(".said").textContent = said(job);
}, 500);
count();
connect();

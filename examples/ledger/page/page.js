// Shows the accounts as they change, sends transfers, and rebuilds projections.

const $ = (id) => document.getElementById(id);
let chosen = null; // id of the account whose statement is shown
let last = null; // the last state

const money = (cents) => (cents / 100).toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

function make(tag, text, attributes = {}) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
}

// send makes a request. It returns the answer, or throws its problem.
async function send(path, body, headers = {}) {
  const reply = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body),
  });
  const answer = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(answer.detail), answer);
  return answer;
}

function say(kind, text) {
  $("result").dataset.kind = kind;
  $("result").textContent = text;
}

const account = (id) => last?.accounts.find((a) => a.id === id);

function drawAccounts(accounts, before) {
  $("accounts").replaceChildren(...accounts.map((a) => {
    const li = make("li");
    const button = make("button", undefined, { type: "button", "aria-pressed": String(a.id === chosen), "data-id": a.id });
    button.append(make("span", a.owner), make("b", money(a.balance)));
    const old = before?.accounts.find((b) => b.id === a.id);
    if (old && old.balance !== a.balance) li.className = "flash";
    button.addEventListener("click", () => { chosen = a.id; draw(last); });
    li.append(button);
    return li;
  }));
  for (const name of ["from", "to"]) {
    const select = $("transfer").elements[name];
    if (select.options.length === accounts.length) continue;
    const was = select.value;
    select.replaceChildren(...accounts.map((a) => new Option(a.owner, a.id)));
    select.value = was || accounts[name === "from" ? 0 : 1]?.id;
  }
}

let asked = 0;

async function drawStatement() {
  const a = account(chosen);
  if (!a) return;
  $("whose").textContent = `of ${a.owner}`;
  const n = ++asked;
  const reply = await fetch(`accounts/${encodeURIComponent(a.id)}/statement`);
  if (!reply.ok || n !== asked) return;
  const lines = await reply.json();
  $("lines").replaceChildren(...lines.map((l) => {
    const tr = make("tr");
    tr.append(make("td", new Date(l.time).toLocaleTimeString()), make("td", account(l.with)?.owner ?? l.with),
      make("td", l.note ?? ""), make("td", (l.amount > 0 ? "+" : "") + money(l.amount), { class: l.amount > 0 ? "n in" : "n" }),
      make("td", money(l.balance), { class: "n" }));
    return tr;
  }));
}

function drawProjections(state) {
  for (const name of ["balances", "statements"]) {
    let row = document.querySelector(`.projection[data-name=${name}]`);
    if (!row) {
      row = make("div", undefined, { class: "projection", "data-name": name });
      const button = make("button", "Rebuild", { type: "button" });
      button.addEventListener("click", async () => {
        try {
          await send(`projections/${name}/rebuild`, {});
        } catch (err) {
          say("bad", err.message);
        }
      });
      row.append(make("b", name), make("progress", undefined, { max: 1, "aria-label": `progress of ${name}` }), button, make("p"));
      $("projections").append(row);
    }
    const { live, next } = state[name];
    const shown = next ?? live;
    const all = shown.entries + shown.behind;
    row.querySelector("progress").value = all ? shown.entries / all : 1;
    row.querySelector("button").disabled = Boolean(next);
    row.querySelector("p").textContent = `build ${live.build} serves ${live.entries.toLocaleString()} events`
      + (live.behind ? `, ${live.behind.toLocaleString()} behind` : "")
      + (next ? `; build ${next.build} is computed: ${next.entries.toLocaleString()} of ${all.toLocaleString()}` : "");
  }
}

function draw(state, before) {
  drawAccounts(state.accounts, before);
  $("sum").textContent = money(state.sum);
  drawProjections(state);
  if (chosen) drawStatement();
}

$("transfer").addEventListener("submit", async (e) => {
  e.preventDefault();
  const f = e.target.elements;
  const body = {
    id: crypto.randomUUID?.() ?? String(Math.random()), from: f.from.value, to: f.to.value,
    amount: Math.round(f.amount.value * 100), note: f.note.value,
  };
  const headers = f.strict.checked ? { "If-Match": `"${account(body.from).version}"` } : {};
  try {
    await send("transfers", body, headers);
    say("good", `sent ${money(body.amount)}`);
    f.note.value = "";
  } catch (err) {
    say("bad", err.status === 409 ? `conflict: ${err.message}` : err.message);
  }
});

$("open").addEventListener("submit", async (e) => {
  e.preventDefault();
  try {
    await send("accounts", { owner: e.target.elements.owner.value });
    e.target.reset();
    say("good", "opened");
  } catch (err) {
    say("bad", err.status === 409 ? "there is an account of this name" : err.message);
  }
});

const stream = new EventSource("live");
stream.addEventListener("message", (e) => {
  const before = last;
  last = JSON.parse(e.data);
  chosen ??= last.accounts[0]?.id;
  $("state").dataset.state = "live";
  $("state").querySelector("span").textContent = "live";
  draw(last, before);
});
stream.addEventListener("error", () => {
  $("state").dataset.state = "connecting";
  $("state").querySelector("span").textContent = "connecting";
});

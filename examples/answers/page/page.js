const $ = (id) => document.getElementById(id);
const stateWords = { open: "writing", done: "complete", stopped: "stopped", failed: "failed" };
let source, words = 0, current = "";

function show(state, word = stateWords[state] ?? state) {
  $("state").dataset.state = state;
  $("state").lastElementChild.textContent = word;
  $("stop").hidden = state !== "open" && state !== "connecting";
}

// title makes a readable text of an ID: its last part is random.
const title = (id) => {
  const words = id.split("-").slice(0, -1).join(" ");
  return words ? words[0].toUpperCase() + words.slice(1) : "Answer";
};

function clear() {
  $("text").textContent = "";
  words = 0;
  count();
}

const count = () => { $("count").textContent = words === 1 ? "1 word" : `${words} words`; };

// follow shows an answer from its beginning. The browser itself resumes after a broken connection: it sends the ID
// of the last word.
function follow(id) {
  source?.close();
  current = id;
  clear();
  $("title").textContent = title(id);
  show("connecting", "connecting");
  source = new EventSource(`answers/${encodeURIComponent(id)}`);
  source.onopen = () => show("open");
  source.onmessage = (e) => {
    $("text").append(e.data);
    words++;
    count();
  };
  source.addEventListener("reset", clear);
  source.addEventListener("gap", (e) => {
    const gap = document.createElement("em");
    gap.textContent = ` … ${JSON.parse(e.data).missed} words are gone … `;
    $("text").append(gap);
  });
  source.addEventListener("end", (e) => {
    source.close();
    const end = JSON.parse(e.data);
    show(end.state);
    if (end.message) $("problem").textContent = end.message;
    list();
  });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) {
      show("gone", "unknown or expired");
    } else {
      show("connecting", "reconnecting");
    }
  };
  list();
}

async function list() {
  let rows;
  try {
    const answer = await fetch("answers");
    if (!answer.ok) return;
    rows = await answer.json();
  } catch {
    return; // the server is away: the next time
  }
  $("recent").replaceChildren(...rows.map((row) => {
    const item = document.createElement("li"), link = document.createElement("a"), note = document.createElement("small");
    link.href = `#${row.id}`;
    link.textContent = title(row.id);
    if (row.id === current) link.setAttribute("aria-current", "true");
    note.textContent = `${stateWords[row.state]}, ${row.words} words`;
    note.dataset.state = row.state;
    item.append(link, note);
    return item;
  }));
}

$("ask").addEventListener("submit", async (e) => {
  e.preventDefault();
  $("problem").textContent = "";
  const input = e.target.elements.text;
  try {
    const answer = await fetch("answers", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ Text: input.value }),
    });
    if (!answer.ok) throw new Error(await answer.text());
    input.value = "";
    location.hash = (await answer.json()).id;
  } catch (err) {
    $("problem").textContent = err instanceof TypeError ? "The server does not answer." : err.message;
  }
});

$("stop").addEventListener("click", async () => {
  const answer = await fetch(`answers/${encodeURIComponent(current)}`, { method: "DELETE" }).catch(() => undefined);
  if (!answer?.ok && answer?.status !== 409) $("problem").textContent = "The answer could not be stopped: try again.";
});

const open = () => { if (location.hash.length > 1) follow(decodeURIComponent(location.hash.slice(1))); };
addEventListener("hashchange", open);
open();
list();
setInterval(() => { if (!document.hidden) list(); }, 3000);

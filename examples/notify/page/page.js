// Notifications by server-sent events. The browser reconnects by itself, and sends the last ID that
// it received.

const $ = (id) => document.getElementById(id);
const user = new URLSearchParams(location.search).get("user") ?? "ann";
const form = $("send");
const shown = 50; // notes in the feed
const toasts = 3;

if (![...$("user").options].some((o) => o.value === user)) $("user").add(new Option(user));
$("user").value = user;
$("user").onchange = () => { location.search = new URLSearchParams({ user: $("user").value }); };

function state(name) {
  $("state").dataset.state = name;
  $("state").lastElementChild.textContent = name;
}

// note makes an element of a note. Text of users is never parsed as HTML.
function note(tag, n) {
  const [title, at, text] = ["strong", "small", "p"].map((name) => document.createElement(name));
  title.textContent = n.title;
  at.textContent = new Date(n.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  text.textContent = n.text;
  if (n.to === user) {
    const mark = document.createElement("mark");
    mark.textContent = "for you · ";
    text.prepend(mark);
  }
  const e = document.createElement(tag);
  e.className = "note";
  e.dataset.kind = n.kind;
  e.append(title, at, text);
  return e;
}

let count = 0;
function show(n) {
  $("feed").prepend(note("li", n));
  while ($("feed").children.length > shown) $("feed").lastElementChild.remove();
  if (n.kind !== "gap") $("count").textContent = ++count;
  if (n.to !== user) return; // notes for everyone appear only in the feed
  const t = note("div", n);
  $("toasts").append(t);
  while ($("toasts").children.length > toasts) $("toasts").firstElementChild.remove();
  setTimeout(() => t.remove(), 5000);
}

let last = ""; // ID of the last event
function connect() {
  const events = new EventSource("events?" + new URLSearchParams({ user, "last-event-id": last }));
  events.onopen = () => state("live");
  events.addEventListener("note", (e) => {
    last = e.lastEventId;
    show(JSON.parse(e.data));
  });
  events.addEventListener("gap", (e) => {
    last = e.lastEventId;
    const { missed } = JSON.parse(e.data);
    show({ kind: "gap", title: "You were away for long", text: missed > 0 ? `${missed} notes are no longer there.` : "Some notes may no longer be there.", at: Date.now() });
  });
  events.onerror = () => {
    state("connecting");
    if (events.readyState !== EventSource.CLOSED) return; // the browser retries by itself
    setTimeout(connect, 2000 + 2000 * Math.random()); // it does not retry after an answer such as 503
  };
}
connect();

form.onsubmit = async (e) => {
  e.preventDefault();
  $("problem").textContent = "";
  try {
    const { to, kind, title, text } = Object.fromEntries(new FormData(form));
    const answer = await fetch("notes", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ to, kind, title, text }),
    });
    if (!answer.ok) throw new Error(await answer.text());
  } catch (err) {
    $("problem").textContent = err.message;
  }
};

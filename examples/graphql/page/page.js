const $ = (id) => document.getElementById(id);

const examples = {
  "Books, authors and reviews": ["query Shelf {\n  books(first: 10) {\n    title\n    year\n    author { name }\n    reviews(first: 3) { by stars text }\n  }\n}"],
  "One book": ["query One($id: ID!) {\n  book(id: $id) {\n    title\n    author { name books { title year } }\n  }\n}", { id: "solaris" }],
  "Add a review": ["mutation Add($review: NewReview!) {\n  addReview(review: $review) { id at book { title } }\n}",
    { review: { book: "solaris", by: "Ann", stars: 5, text: "The ocean thinks." } }],
  "Reviews, live": ["subscription Live {\n  reviewAdded {\n    cursor\n    gap { missed }\n    review { by stars text book { title author { name } } }\n  }\n}"],
};

for (const name in examples) $("examples").append(new Option(name));
const choose = (name) => {
  const [query, variables] = examples[name];
  $("query").value = query;
  $("variables").value = JSON.stringify(variables ?? {}, null, 2);
};
$("examples").addEventListener("change", (e) => choose(e.target.value));
choose(Object.keys(examples)[0]);

const state = (name, text = name) => {
  $("state").dataset.state = name;
  $("state").textContent = text;
};

async function post(query, variables) {
  const r = await fetch("graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/graphql-response+json, application/json" },
    body: JSON.stringify({ query, variables }),
  });
  return r.json();
}

// follow subscribes by graphql-transport-ws. When the socket closes it connects again, here or at
// another process, and goes on after the last cursor.
function follow(query, variables) {
  let socket, cursor, stopped = false, pause = 200;
  const connect = () => {
    state("connecting");
    socket = new WebSocket(new URL("graphql", location.href.replace(/^http/, "ws")), "graphql-transport-ws");
    const send = (m) => socket.send(JSON.stringify(m));
    socket.onopen = () => send({ type: "connection_init" });
    socket.onmessage = (e) => {
      const m = JSON.parse(e.data);
      switch (m.type) {
        case "connection_ack":
          pause = 200;
          send({ id: "1", type: "subscribe", payload: { query: resumed(query, cursor), variables: { ...variables, after: cursor } } });
          break;
        case "ping": send({ type: "pong" }); break;
        case "next": {
          state("live");
          const got = Object.values(m.payload.data ?? {})[0] ?? {};
          cursor = got.cursor ?? cursor;
          if (got.review !== null || got.gap || m.payload.errors) show(m.payload);
          break;
        }
        case "error": stopped = true; show({ errors: m.payload }); state("failed"); ended(); break;
        case "complete": stopped = true; state("idle", "complete"); ended(); break;
      }
    };
    socket.onclose = () => {
      if (stopped) return;
      state("connecting", "reconnecting");
      setTimeout(() => stopped || connect(), pause);
      pause = Math.min(2 * pause, 5000);
    };
  };
  const ended = () => { socket.close(1000); $("stop").disabled = $("break").disabled = true; };
  connect();
  $("stop").disabled = $("break").disabled = false;
  return { stop: () => { stopped = true; ended(); state("idle"); }, drop: () => socket.close(1000) };
}

// resumed adds the variable after to a subscription to reviewAdded that has none.
function resumed(query, cursor) {
  if (!cursor || /\bafter\b/.test(query)) return query;
  return query
    .replace(/subscription\s*(\w*)\s*(\(([^)]*)\))?/, (_, name, __, args) => `subscription ${name}(${args ? args + ", " : ""}$after: String)`)
    .replace(/reviewAdded\s*(\(([^)]*)\))?/, (_, __, args) => `reviewAdded(${args ? args + ", " : ""}after: $after)`);
}

function show(payload) {
  const item = document.createElement("li");
  const review = Object.values(payload.data ?? {})[0]?.review;
  if (review?.text && review.by) {
    item.append(`${"★".repeat(review.stars ?? 0)} ${review.text}`);
    const small = document.createElement("small");
    small.textContent = [review.by, review.book?.title, review.book?.author?.name].filter(Boolean).join(" · ");
    item.append(small);
  } else item.textContent = JSON.stringify(payload.errors ?? payload.data);
  $("feed").prepend(item);
  while ($("feed").children.length > 50) $("feed").lastChild.remove();
}

let running;
async function run() {
  running?.stop();
  running = undefined;
  $("result").textContent = "";
  $("feed").replaceChildren();
  let variables;
  try {
    variables = JSON.parse($("variables").value || "{}");
  } catch (e) {
    $("result").textContent = `Variables are not JSON: ${e.message}`;
    return state("failed");
  }
  const query = $("query").value;
  if (/^\s*(#.*\n\s*)*subscription\b/.test(query)) {
    running = follow(query, variables);
    return;
  }
  state("running");
  try {
    const got = await post(query, variables);
    $("result").textContent = JSON.stringify(got, null, 2);
    state(got.errors ? "failed" : "idle", got.errors ? "failed" : `${got.extensions?.calls ?? 0} calls of services`);
  } catch (e) {
    $("result").textContent = String(e);
    state("failed");
  }
}
$("run").addEventListener("click", run);
$("stop").addEventListener("click", () => running?.stop());
$("break").addEventListener("click", () => running?.drop());
document.addEventListener("keydown", (e) => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); run(); } });

// The documentation comes from the schema itself, by introspection.
const typeName = (t) => t.kind === "NON_NULL" ? typeName(t.ofType) + "!" : t.kind === "LIST" ? `[${typeName(t.ofType)}]` : t.name;
const docs = await post(`{ __schema { types { name kind description
  fields { name description args { ...arg } type { ...ref } } inputFields { ...arg } } } }
  fragment arg on __InputValue { name defaultValue type { ...ref } }
  fragment ref on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`, {});
for (const t of docs.data?.__schema.types ?? []) {
  if (t.name.startsWith("__") || t.kind === "SCALAR") continue;
  const box = document.createElement("details"), head = document.createElement("summary");
  box.open = ["Query", "Mutation", "Subscription"].includes(t.name);
  head.textContent = t.name;
  box.append(head);
  for (const f of t.fields ?? t.inputFields ?? []) {
    const args = (f.args ?? []).map((a) => `${a.name}: ${typeName(a.type)}${a.defaultValue ? " = " + a.defaultValue : ""}`);
    const line = document.createElement("code");
    line.textContent = `${f.name}${args.length ? `(${args.join(", ")})` : ""}: ${typeName(f.type)}`;
    box.append(line);
    if (f.description) {
      const small = document.createElement("small");
      small.textContent = f.description;
      box.append(small);
    }
  }
  $("schema").append(box);
}

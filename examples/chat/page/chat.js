// The page: conversations on the left, lines in the middle, users of the room on the right.

import { connect } from "./streamerson.js";
import { Conversation } from "./conversation.js";
import { avatar, drawLines, el, renew } from "./draw.js";

const $ = id => document.getElementById(id);
const HEARTBEAT = 15_000; // ms; users that are silent for 40 seconds count as gone
const TYPING = 2500; // ms between two messages that the user is typing

let session, me = "", current = "", rooms = [], online = false;
const conversations = new Map();

// Login.

$("login").addEventListener("submit", async e => {
	e.preventDefault();
	$("wrong").textContent = "";
	try {
		const r = await fetch("login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: $("name").value }) });
		if (r.ok) return await enter();
		$("wrong").textContent = await r.text();
	} catch {
		$("wrong").textContent = "The chat does not answer. Try again.";
	}
	$("name").select();
});

$("logout").addEventListener("click", async () => {
	await fetch("logout", { method: "POST" }).catch(() => {});
	session?.close();
	location.reload();
});

async function enter() {
	const r = await fetch("me").catch(() => null);
	if (!r?.ok) {
		$("app").hidden = true;
		$("welcome").hidden = false;
		$("name").focus();
		return;
	}
	me = (await r.json()).name;
	$("welcome").hidden = true;
	$("app").hidden = false;
	$("self").replaceChildren(avatar(me, true), me);
	begin();
}

function begin() {
	const asked = decodeURIComponent(location.hash.slice(1));
	const first = asked && !asked.startsWith("@") ? asked : "lobby";
	session = connect("ws", { rooms: [first], maxDelay: 5000, silence: 15_000 });
	session.onStatus(status);
	session.onGap(gap);
	session.onError(error => status({ state: error.code === "unauthorized" ? "out" : "error", reason: error.message }));
	session.on("line", heard);
	session.on("past", past);
	session.on("who", ({ in: room, users }) => { of(room).users = users ?? []; draw(); });
	session.on("rooms", list => { rooms = list.rooms ?? []; drawSide(); });
	session.on("typing", (_, { room, from }) => {
		if (from === me) return;
		of(room ?? "@" + from).typing.set(from, Date.now() + TYPING + 1500);
		drawTyping();
	});
	session.on("refused", ({ said, why, with: where }) => {
		const c = of(where || current);
		c.note(why.charAt(0).toUpperCase() + why.slice(1) + ".");
		if (said && c.name === current && !$("text").value) fill(said); // keep the refused text
		draw();
	});
	setInterval(() => session.rooms.forEach(room => tell("here", {}, room)), HEARTBEAT);
	setInterval(drawTyping, 1000);
	show(first);
}

function status({ state, reason, refused = [] }) {
	online = state === "open";
	const text = { connecting: "The connection is lost: reconnecting … What you send now is sent then.", error: reason, out: "You are logged out." }[state] ?? "";
	$("status").textContent = text;
	$("status").hidden = !text;
	if (!online) return;
	for (const room of refused) of(room).note("This room can’t be joined.");
	setTimeout(() => session.rooms.forEach(room => tell("here", {}, room)), 3000); // the server may notice late that the former socket is gone
	draw();
}

// gap marks a gap in all conversations, because the log no longer has the missed messages. It
// requests the stored last lines.
function gap() {
	for (const c of conversations.values()) {
		c.gap();
		ask(c);
	}
	draw();
}

// Conversations.

function of(name) {
	let c = conversations.get(name);
	if (!c) conversations.set(name, c = new Conversation(name));
	return c;
}

const place = c => c.direct ? [{ to: c.name.slice(1) }, undefined] : [{}, c.name];

function tell(type, data, room) { session.send(type, data, { room }).catch(() => {}); }

function ask(c) {
	const [data, room] = place(c);
	tell("past", data, room);
}

function heard(line) {
	const c = of(line.room || "@" + (line.from === me ? line.to : line.from));
	if (!c.add(line)) return;
	if (c.name !== current || document.hidden) {
		if (line.from !== me) c.unread++;
	}
	draw();
}

function past({ with: name, lines = [] }) {
	const c = of(name);
	for (const line of lines) c.add(line);
	draw();
}

async function show(name) {
	const known = conversations.has(name);
	if (current) of(current).draft = $("text").value;
	current = name;
	const c = of(name);
	c.unread = 0;
	fill(c.draft);
	history.replaceState(null, "", "#" + encodeURIComponent(name));
	close();
	draw(true);
	if (matchMedia("(pointer: fine)").matches) $("text").focus();
	if (c.direct) {
		if (!known) ask(c);
		return;
	}
	if (session.rooms.includes(name)) return;
	try {
		await session.join(name);
	} catch (error) {
		c.note(`You can’t join ${name}: ${error.message}.`);
		draw();
	}
}

function leave(name) {
	tell("bye", {}, name);
	session.leave(name).catch(() => {});
	conversations.delete(name);
	if (current === name) show("lobby");
	drawSide();
}

// Writing.

let typed = 0;

function fill(text) {
	$("text").value = text;
	$("send").disabled = !text.trim();
}

$("text").addEventListener("input", () => {
	$("send").disabled = !$("text").value.trim();
	if (!$("text").value || $("text").value.startsWith("/") || !online || Date.now() - typed < TYPING) return;
	typed = Date.now();
	tell("typing", ...place(of(current)));
});

// Enter sends, Shift+Enter breaks the line. Touch keyboards send no key event, but an
// insertLineBreak input.
let shift = false;
for (const what of ["keydown", "keyup"]) document.addEventListener(what, e => shift = e.shiftKey);
$("text").addEventListener("keydown", e => {
	if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
		e.preventDefault();
		$("compose").requestSubmit();
	}
});
$("text").addEventListener("beforeinput", e => {
	if (e.inputType !== "insertLineBreak" || shift) return;
	e.preventDefault();
	$("compose").requestSubmit();
});

$("compose").addEventListener("submit", async e => {
	e.preventDefault();
	const text = $("text").value;
	if (!text.trim()) return;
	const c = of(current), [data, room] = place(c);
	fill(c.draft = "");
	typed = 0;
	const direct = /^\/msg\s+@?(\S+)\s+\S/.exec(text);
	try {
		await session.send("say", { ...data, text }, { room });
		if (direct) of("@" + direct[1]);
	} catch (error) {
		c.note(`Not sent: ${error.message}.`);
		if (c.name === current && !$("text").value) fill(text);
		draw();
	}
});

document.addEventListener("keydown", e => {
	if (e.key === "Escape") close();
	if (e.altKey && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
		e.preventDefault();
		const names = [...document.querySelectorAll("#side li")].map(li => li.dataset.name);
		const i = names.indexOf(current) + (e.key === "ArrowDown" ? 1 : -1);
		if (names[i]) show(names[i]);
	}
});

$("open").addEventListener("submit", e => {
	e.preventDefault();
	const name = $("new").value.trim().toLowerCase().replace(/\s+/g, "-").replace(/^#/, "");
	$("new").value = "";
	if (name) show(name);
});

// Drawing.

const write = name => { if (name !== me) show("@" + name); };

function draw(jump) {
	const c = of(current), lines = $("lines");
	const atEnd = jump === true || lines.scrollHeight - lines.scrollTop - lines.clientHeight < 60;
	$("title").textContent = c.direct ? c.name.slice(1) : "# " + c.name;
	$("count").textContent = c.direct ? "just the two of you" : c.users.length === 1 ? "1 person here" : `${c.users.length} people here`;
	$("text").placeholder = `Message ${c.direct ? c.name.slice(1) : "#" + c.name}`;
	const drawn = drawLines(c.lines, write);
	renew(lines, drawn.length ? drawn : [el("div", { className: "empty" }, "Nothing was said here yet.")]);
	if (atEnd) lines.scrollTop = lines.scrollHeight;
	$("newer").hidden = atEnd;
	$("here").hidden = c.direct;
	$("people").hidden = c.direct;
	renew($("users"), c.users.map(name => {
		const b = el("button", { type: "button", title: name === me ? "" : `Write to ${name}` }, avatar(name, true), name + (name === me ? " (you)" : ""));
		b.addEventListener("click", () => write(name));
		return el("li", {}, b);
	}));
	drawSide();
	drawTyping();
}

function drawSide() {
	const here = new Map(rooms.map(r => [r.name, r.here ?? 0]));
	const joined = [...conversations.keys()].filter(n => !n.startsWith("@"));
	const names = [...new Set([...rooms.map(r => r.name), ...joined])];
	renew($("rooms"), names.map(n => drawItem(n, "# " + n, conversations.get(n)?.users.length || here.get(n))));
	const directs = [...conversations.values()].filter(c => c.direct);
	$("directs-title").hidden = directs.length === 0;
	renew($("directs"), directs.map(c => drawItem(c.name, c.name.slice(1))));
	const unread = [...conversations.values()].reduce((n, c) => n + (c.name === current ? 0 : c.unread), 0);
	$("elsewhere").hidden = unread === 0;
	document.title = (unread ? `(${unread}) ` : "") + "Chat";
}

function drawItem(name, label, count) {
	const c = conversations.get(name), b = el("button", { type: "button" });
	if (name.startsWith("@")) b.append(avatar(label, true));
	b.append(el("span", {}, label));
	if (c?.unread && name !== current) b.append(el("em", { title: "unread" }, c.unread > 99 ? "99+" : String(c.unread)));
	else if (count) b.append(el("small", { title: "people here" }, String(count)));
	if (name === current) b.ariaCurrent = "true";
	b.addEventListener("click", () => show(name));
	const li = el("li", { className: c?.unread && name !== current ? "unread" : "" }, b);
	li.dataset.name = name;
	return li;
}

function drawTyping() {
	if (!current) return;
	const users = of(current).writers(Date.now());
	$("typing").textContent = users.length === 0 ? "" : users.length > 3 ? "Several people are typing …"
		: `${users.join(", ")} ${users.length === 1 ? "is" : "are"} typing …`;
}

$("lines").addEventListener("scroll", () => {
	const lines = $("lines");
	if (lines.scrollHeight - lines.scrollTop - lines.clientHeight < 60) $("newer").hidden = true;
});
$("newer").addEventListener("click", () => $("lines").scrollTop = $("lines").scrollHeight);
document.addEventListener("visibilitychange", () => {
	if (document.hidden || !current) return;
	of(current).unread = 0;
	drawSide();
});

// On small screens the side columns are drawers.

function drawer(button, side) {
	$(button).addEventListener("click", e => {
		e.stopPropagation();
		$(button).ariaExpanded = String($(side).classList.toggle("open"));
	});
}

function close() {
	for (const id of ["side", "here"]) $(id).classList.remove("open");
	for (const id of ["menu", "people"]) $(id).ariaExpanded = "false";
}

drawer("menu", "side");
drawer("people", "here");
document.querySelector("main").addEventListener("click", close);

enter();

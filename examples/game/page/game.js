// The page: it sends the player's input, and shows the server's snapshots.

import { connect } from "./streamerson.js";
import { Controls } from "./controls.js";
import { Scene, color } from "./scene.js";
import { Sound } from "./sound.js";
import { View, rested } from "./view.js";

const $ = id => document.getElementById(id);
const HEARTBEAT = 2000; // ms; silent players leave

const view = new View(), sound = new Sound(), scene = new Scene($("arena"));
let session = null, room = "", name = "", online = false, asking = false;

const controls = new Controls($("arena"), $("dash"), (x, y, dash) => {
	move(x, y, dash);
	if (dash || x || y) setTimeout(() => $("hint").classList.add("seen"), 6000);
});

// Joining.

const rooms = ["comet", "nova", "orbit", "quasar", "pulsar", "aurora", "zenith", "nebula"];
const pick = list => list[Math.floor(Math.random() * list.length)];

const asked = new URLSearchParams(location.search).get("room") ?? "";
$("name").value = localStorage.getItem("arena.name") ?? "";
$("which").value = /^[a-z0-9-]{1,24}$/.test(asked) ? asked : `${pick(rooms)}-${Math.floor(Math.random() * 90 + 10)}`;
$("start").showModal();
($("name").value ? $("play") : $("name")).focus();
$("start").addEventListener("cancel", e => e.preventDefault());
$("enter").addEventListener("submit", () => {
	name = $("name").value.trim();
	room = $("which").value;
	localStorage.setItem("arena.name", name);
	history.replaceState(null, "", `?room=${room}`);
	document.title = `Arena · ${room}`;
	$("room").textContent = room;
	for (const id of ["top", "hint"]) $(id).hidden = false;
	$("dash").hidden = !matchMedia("(pointer: coarse)").matches;
	sound.begin();
	begin();
});

function begin() {
	session = connect("ws", { rooms: [room], maxDelay: 3000, silence: 5000 });
	session.onStatus(({ state }) => {
		online = state === "open";
		asking = false;
		if (online) return play();
		say(state === "connecting" ? "The connection is lost: reconnecting …" : "");
		controls.stop();
	});
	session.onGap(play);
	session.on("whole", s => {
		asking = false;
		view.whole(s);
		say("");
		controls.on = true;
		controls.x = controls.y = 0;
		controls.fromKeys();
	});
	session.on("state", s => {
		if (!view.tick) return; // we have not joined yet
		const happened = view.change(s);
		if (!happened) return play();
		for (const e of happened) {
			scene.happened(e, view);
			sound.happened(e, view.me);
		}
	});
	session.on("rejoin", () => {
		asking = false;
		play();
	});
	session.on("full", () => {
		say("This room is full: try again in a moment, or open another one");
		setTimeout(() => { asking = false; play(); }, 3000);
	});
	setInterval(() => move(controls.x, controls.y, false), HEARTBEAT);
}

// play requests a seat, or the complete snapshot.
function play() {
	if (!online || asking) return;
	asking = true;
	setTimeout(() => asking = false, HEARTBEAT);
	session.send("play", { name }, { room }).catch(() => asking = false);
}

// move drops input without a connection, because it would arrive too late.
function move(x, y, dash) {
	if (!online) return;
	if (!view.tick) return play(); // no world has answered yet
	session.send("move", { x, y, dash }, { room }).catch(() => {});
}

// Around the arena.

function say(text) {
	$("notice").textContent = text;
	$("notice").hidden = !text;
}

$("share").addEventListener("click", async () => {
	try {
		await navigator.clipboard.writeText(location.href);
		$("share").textContent = "copied";
	} catch {
		prompt("The room’s link:", location.href);
	}
	setTimeout(() => $("share").textContent = "copy link", 1500);
});

function mute(off) {
	sound.mute(off);
	$("mute").textContent = off ? "sound off" : "sound on";
	$("mute").setAttribute("aria-pressed", off);
}
mute(sound.off);
$("mute").addEventListener("click", () => { mute(!sound.off); $("mute").blur(); });
addEventListener("keydown", e => { if (e.code === "KeyM" && controls.on && !e.ctrlKey && !e.metaKey) mute(!sound.off); });

let board = "";

function drawBoard() {
	const scores = view.scores;
	const text = JSON.stringify(scores);
	if (text === board) return;
	board = text;
	$("board").hidden = scores.length === 0;
	$("board").replaceChildren(...scores.slice(0, innerHeight < 500 ? 4 : 8).map(s => {
		const li = document.createElement("li"), dot = document.createElement("i");
		const who = document.createElement("span"), n = document.createElement("b");
		dot.style.background = color(s.hue);
		dot.style.boxShadow = `0 0 10px ${color(s.hue)}`;
		who.textContent = s.name;
		n.textContent = s.score;
		li.className = s.id === view.me ? "me" : "";
		li.append(dot, who, n);
		return li;
	}));
	drawPodium(scores);
}

function drawPodium(scores) {
	const [first, second] = scores, title = $("podium").querySelector("h2");
	if (!first) return;
	title.textContent = second && first.score === second.score ? "A draw" : first.id === view.me ? "You win" : `${first.name} wins`;
	title.style.color = second && first.score === second.score ? "" : color(first.hue, 72);
	$("podium").querySelector("ol").replaceChildren(...scores.slice(0, 3).map(s => {
		const li = document.createElement("li"), who = document.createElement("span"), n = document.createElement("b");
		who.textContent = s.name;
		n.textContent = s.score;
		li.style.color = color(s.hue, 75);
		li.append(who, n);
		return li;
	}));
}

function drawClock() {
	const s = Math.ceil(view.left);
	$("clock").textContent = view.round.podium ? "" : `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
	$("clock").classList.toggle("late", s <= 10);
	$("podium").hidden = !view.round.podium;
}

let before = performance.now();

requestAnimationFrame(function frame(now) {
	const dt = Math.min(0.1, (now - before) / 1000);
	before = now;
	scene.draw(view, dt, now);
	if (view.tick) {
		drawBoard();
		drawClock();
	}
	requestAnimationFrame(frame);
});

// For tests, and for use in the browser's console.
window.arena = () => ({
	online, tick: view.tick, me: view.me, round: view.round, sparks: [...view.sparks.values()].map(k => ({ x: k.tx, y: k.ty })),
	ships: view.ships().map(s => ({ id: s.id, name: s.name, x: s.x, y: s.y, score: s.score, rested: Boolean(s.state & rested) })),
});

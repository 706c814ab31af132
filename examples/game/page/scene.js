// The drawing: the arena on a canvas, which fills the window.

import { dashing, shielded, rested } from "./view.js";

export const WIDTH = 1600, HEIGHT = 900, SHIP = 26, SPARK = 9;
const MARGIN = 26; // around the arena
const MOTES = 700; // the maximum: trails and bursts

const hues = [195, 330, 135, 265, 20, 60, 170, 300, 95, 225, 0, 40];
export const color = (hue, light = 65, alpha = 1) => `hsl(${hues[hue % hues.length] ?? 195} 95% ${light}% / ${alpha})`;

export class Scene {
	constructor(canvas) {
		this.canvas = canvas;
		this.c = canvas.getContext("2d");
		this.motes = [];
		this.words = []; // texts that float up: "+1"
		this.faces = new Map(); // ship → direction
		this.shake = 0;
		this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
		addEventListener("resize", () => this.size());
		this.size();
	}

	size() {
		const dpr = Math.min(devicePixelRatio || 1, 2);
		const w = this.canvas.clientWidth, h = this.canvas.clientHeight;
		this.canvas.width = w * dpr;
		this.canvas.height = h * dpr;
		const [top, bottom] = h > 560 ? [58, 30] : [8, 0]; // for the texts around the arena
		this.scale = Math.min(w / (WIDTH + 2 * MARGIN), (h - top - bottom) / (HEIGHT + 2 * MARGIN));
		this.left = (w - WIDTH * this.scale) / 2;
		this.top = top + (h - top - bottom - HEIGHT * this.scale) / 2;
		this.dpr = dpr;
		this.floor = this.drawFloor();
		this.star = this.drawStar();
	}

	// drawFloor draws the constant background once.
	drawFloor() {
		const { canvas, c } = layer(this.canvas.width, this.canvas.height);
		const { width: w, height: h } = canvas;
		c.fillStyle = "#05070f";
		c.fillRect(0, 0, w, h);
		let seed = 7;
		const random = () => (seed = seed * 16807 % 2147483647) / 2147483647;
		for (let i = 0; i < 240; i++) {
			c.fillStyle = `rgb(190 210 255 / ${0.05 + 0.35 * random() ** 3})`;
			const r = this.dpr * (0.4 + random());
			c.fillRect(random() * w, random() * h, r, r);
		}
		this.place(c);
		const g = c.createRadialGradient(WIDTH / 2, HEIGHT / 2, 60, WIDTH / 2, HEIGHT / 2, 950);
		g.addColorStop(0, "#141d3f");
		g.addColorStop(1, "#090d1d");
		round(c, 0, 0, WIDTH, HEIGHT, 28);
		c.fillStyle = g;
		c.fill();
		c.save();
		c.clip();
		c.strokeStyle = "#7f9cff12";
		c.lineWidth = 1.5;
		c.beginPath();
		for (let x = 80; x < WIDTH; x += 80) { c.moveTo(x, 0); c.lineTo(x, HEIGHT); }
		for (let y = 70; y < HEIGHT; y += 76) { c.moveTo(0, y); c.lineTo(WIDTH, y); }
		c.stroke();
		c.strokeStyle = "#7f9cff1c";
		c.lineWidth = 3;
		for (const r of [130, 138]) { c.beginPath(); c.arc(WIDTH / 2, HEIGHT / 2, r, 0, 7); c.stroke(); }
		c.restore();
		c.shadowColor = "#5ad1ff";
		c.shadowBlur = 26 * this.scale * this.dpr;
		c.strokeStyle = "#5ad1ffaa";
		c.lineWidth = 3.5;
		round(c, -2, -2, WIDTH + 4, HEIGHT + 4, 30);
		c.stroke();
		return canvas;
	}

	// drawStar draws a spark once, because its glow is expensive.
	drawStar() {
		const size = 90, k = this.scale * this.dpr;
		const { canvas, c } = layer(Math.ceil(size * k), Math.ceil(size * k));
		c.scale(k, k);
		c.translate(size / 2, size / 2);
		const g = c.createRadialGradient(0, 0, 0, 0, 0, size / 2);
		g.addColorStop(0, "#ffdc7dcc");
		g.addColorStop(0.25, "#ffc94855");
		g.addColorStop(1, "#ffb52e00");
		c.fillStyle = g;
		c.fillRect(-size / 2, -size / 2, size, size);
		c.fillStyle = "#fff6d8";
		star(c, SPARK * 1.7);
		c.fill();
		return { canvas, size };
	}

	place(c) {
		c.setTransform(this.dpr * this.scale, 0, 0, this.dpr * this.scale, this.dpr * this.left, this.dpr * this.top);
	}

	// happened shows an event of a snapshot.
	happened(e, view) {
		const hue = e.hue ?? view.names.get(e.by)?.hue ?? 0;
		if (e.what === "taken") {
			this.burst(e.x, e.y, 9, 3.2, "hsl(45 100% 70%)");
			if (e.by === view.me) this.words.push({ x: e.x, y: e.y - 18, text: "+1", color: "#ffe39a", life: 1 });
		}
		if (e.what === "hit") {
			this.burst(e.x, e.y, 34, 9, color(hue, 70));
			if (e.n) this.words.push({ x: e.x, y: e.y - 34, text: `−${e.n}`, color: color(view.names.get(e.whom)?.hue ?? 0, 75), life: 1.3 });
			if (e.whom === view.me && !this.calm) this.shake = 14;
		}
		if (e.what === "left") this.burst(e.x, e.y, 26, 5, color(hue, 60));
	}

	burst(x, y, n, speed, fill) {
		for (let i = 0; i < n; i++) {
			const a = Math.random() * 7, v = speed * (0.3 + Math.random());
			this.mote(x, y, Math.cos(a) * v, Math.sin(a) * v, 2 + Math.random() * 3, fill, 0.5 + Math.random() * 0.5);
		}
	}

	mote(x, y, vx, vy, r, fill, life) {
		if (this.motes.length < MOTES) this.motes.push({ x, y, vx, vy, r, fill, life, all: life });
	}

	// draw draws a frame; dt is in seconds.
	draw(view, dt, now) {
		const c = this.c;
		c.setTransform(1, 0, 0, 1, 0, 0);
		c.globalCompositeOperation = "source-over";
		c.drawImage(this.floor, 0, 0);
		this.place(c);
		if (this.shake > 0.3) {
			c.translate((Math.random() - 0.5) * this.shake, (Math.random() - 0.5) * this.shake);
			this.shake *= 0.86;
		}
		const ships = view.ships();
		c.globalCompositeOperation = "lighter";
		this.drawMotes(dt);
		this.drawSparks(view, dt, now);
		for (const s of ships) this.drawGlow(s);
		c.globalCompositeOperation = "source-over";
		for (const s of ships) this.drawShip(s, s.id === view.me, dt, now);
		this.drawWords(dt);
	}

	drawMotes(dt) {
		const c = this.c;
		this.motes = this.motes.filter(m => (m.life -= dt) > 0);
		for (const m of this.motes) {
			m.x += m.vx * dt * 60;
			m.y += m.vy * dt * 60;
			m.vx *= 0.94;
			m.vy *= 0.94;
			c.globalAlpha = m.life / m.all;
			c.fillStyle = m.fill;
			c.beginPath();
			c.arc(m.x, m.y, m.r * (0.4 + 0.6 * m.life / m.all), 0, 7);
			c.fill();
		}
		c.globalAlpha = 1;
	}

	drawSparks(view, dt, now) {
		const c = this.c, { canvas, size } = this.star;
		const near = 1 - Math.exp(-dt * 14);
		for (const [id, k] of view.sparks) {
			k.x += (k.tx - k.x) * near;
			k.y += (k.ty - k.y) * near;
			const born = Math.min(1, (now - k.from) / 350);
			const s = size * (0.9 + 0.14 * Math.sin(now / 260 + id * 1.7)) * born * (2 - born);
			c.save();
			c.translate(k.x, k.y);
			c.rotate(Math.sin(now / 900 + id) * 0.25);
			c.drawImage(canvas, -s / 2, -s / 2, s, s);
			c.restore();
		}
	}

	drawGlow(s) {
		const c = this.c, fast = s.state & dashing, r = SHIP * (fast ? 4.2 : 3);
		const g = c.createRadialGradient(s.x, s.y, SHIP * 0.5, s.x, s.y, r);
		g.addColorStop(0, color(s.hue, 55, fast ? 0.75 : 0.42));
		g.addColorStop(1, color(s.hue, 50, 0));
		c.fillStyle = g;
		c.beginPath();
		c.arc(s.x, s.y, r, 0, 7);
		c.fill();
	}

	drawShip(s, mine, dt, now) {
		const c = this.c, speed = Math.hypot(s.vx, s.vy);
		let face = this.faces.get(s.id) ?? 0;
		if (speed > 1) {
			const turn = Math.atan2(s.vy, s.vx) - face;
			face += Math.atan2(Math.sin(turn), Math.cos(turn)) * Math.min(1, dt * 14);
			this.faces.set(s.id, face);
			if (this.faces.size > 100) this.faces.clear();
			if (Math.random() < dt * (s.state & dashing ? 160 : 42)) {
				const a = face + Math.PI + (Math.random() - 0.5) * 0.7;
				this.mote(s.x + Math.cos(a) * SHIP * 0.9, s.y + Math.sin(a) * SHIP * 0.9, Math.cos(a) * 2.4, Math.sin(a) * 2.4,
					3 + Math.random() * 4, color(s.hue, 60), 0.35 + Math.random() * 0.3);
			}
		}
		c.save();
		c.translate(s.x, s.y);
		c.save();
		c.rotate(face);
		const body = c.createRadialGradient(-6, -6, 2, 0, 0, SHIP);
		body.addColorStop(0, color(s.hue, 86));
		body.addColorStop(0.55, color(s.hue, 58));
		body.addColorStop(1, color(s.hue, 30));
		c.fillStyle = body;
		c.beginPath();
		c.arc(0, 0, SHIP, 0, 7);
		c.fill();
		c.lineWidth = mine ? 3.5 : 2;
		c.strokeStyle = mine ? "#ffffff" : color(s.hue, 80, 0.8);
		c.stroke();
		c.fillStyle = "#071022dd"; // the visor
		c.beginPath();
		c.ellipse(10, 0, 9, 12.5, 0, 0, 7);
		c.fill();
		c.fillStyle = color(s.hue, 92);
		c.beginPath();
		c.ellipse(12, -4, 2.6, 3.4, 0.4, 0, 7);
		c.fill();
		c.restore();
		if (s.state & shielded) {
			c.strokeStyle = color(s.hue, 85, 0.45 + 0.3 * Math.sin(now / 70));
			c.lineWidth = 2.5;
			c.setLineDash([9, 7]);
			c.lineDashOffset = -now / 25;
			c.beginPath();
			c.arc(0, 0, SHIP + 9, 0, 7);
			c.stroke();
			c.setLineDash([]);
		}
		if (mine && !(s.state & rested)) { // the next dash is not ready
			c.strokeStyle = "#ffd66b";
			c.globalAlpha = 0.6;
			c.lineWidth = 3;
			c.beginPath();
			c.arc(0, 0, SHIP + 6, now / 120, now / 120 + 1.4);
			c.stroke();
			c.globalAlpha = 1;
		}
		c.textAlign = "center";
		c.font = `600 ${mine ? 21 : 20}px system-ui, sans-serif`;
		c.lineWidth = 4;
		c.strokeStyle = "#05070fcc";
		const label = s.y < 80 ? SHIP + 32 : -SHIP - 15;
		c.strokeText(s.name, 0, label);
		c.fillStyle = mine ? "#ffffff" : color(s.hue, 84);
		c.fillText(s.name, 0, label);
		c.restore();
	}

	drawWords(dt) {
		const c = this.c;
		this.words = this.words.filter(w => (w.life -= dt) > 0);
		c.textAlign = "center";
		c.font = "800 28px system-ui, sans-serif";
		for (const w of this.words) {
			w.y -= dt * 46;
			c.globalAlpha = Math.min(1, w.life * 1.6);
			c.fillStyle = w.color;
			c.fillText(w.text, w.x, w.y);
		}
		c.globalAlpha = 1;
	}
}

function layer(width, height) {
	const canvas = document.createElement("canvas");
	canvas.width = Math.max(1, width);
	canvas.height = Math.max(1, height);
	return { canvas, c: canvas.getContext("2d") };
}

function round(c, x, y, w, h, r) {
	c.beginPath();
	c.roundRect(x, y, w, h, r);
}

function star(c, r) {
	c.beginPath();
	for (let i = 0; i < 8; i++) {
		const a = i * Math.PI / 4, l = i % 2 ? r * 0.3 : r;
		c.lineTo(Math.cos(a) * l, Math.sin(a) * l);
	}
	c.closePath();
}

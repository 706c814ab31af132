// The snapshots of the server, and the picture between two of them.

export const TICK = 50; // ms
const BEHIND = 2; // ticks that the picture is delayed, so that there is mostly a snapshot before and one after it
const KEEP = 40; // snapshots

export const dashing = 1, shielded = 2, rested = 4; // states of a ship, as bits

export class View {
	constructor() {
		this.me = 0;
		this.tick = 0; // of the last snapshot; 0: there is none
		this.names = new Map(); // id → {name, hue}
		this.sparks = new Map(); // id → {x, y, from: time of its arrival}
		this.round = { podium: false, ends: 0 };
		this.frames = []; // {tick, ships: Map(id → [id, x, y, score, state])}
		this.ahead = -Infinity; // the server's tick minus ours
	}

	// whole starts again with a complete snapshot, after joining or a gap.
	whole(s) {
		this.me = s.you;
		this.names.clear();
		this.sparks.clear();
		this.frames = [];
		this.ahead = -Infinity;
		this.tick = 0;
		this.take(s, []);
	}

	// change applies a snapshot and returns its events. It returns null if an earlier snapshot is
	// missing: then the page needs a complete one.
	change(s) {
		if (s.t <= this.tick) return []; // already applied
		if (s.b !== this.tick) return null;
		const happened = [];
		for (const [spark, by] of s.k ?? []) {
			const at = this.sparks.get(spark);
			this.sparks.delete(spark);
			if (at) happened.push({ what: "taken", by, x: at.x, y: at.y });
		}
		for (const [by, whom, n] of s.h ?? []) {
			const at = this.last(whom);
			if (at) happened.push({ what: "hit", by, whom, n, x: at[1], y: at[2] });
		}
		for (const id of s.l ?? []) {
			const at = this.last(id);
			if (at) happened.push({ what: "left", hue: this.names.get(id)?.hue, x: at[1], y: at[2] });
			this.names.delete(id);
		}
		this.take(s, s.l ?? []);
		return happened;
	}

	take(s, left) {
		const now = performance.now() / TICK;
		// The fastest snapshot sets the server's clock. It decays slowly, in case the clocks drift.
		this.ahead = Math.max(this.ahead - 0.01, s.t - now);
		for (const n of s.n ?? []) this.names.set(n.id, n);
		for (const [id, x, y] of s.s ?? []) {
			const k = this.sparks.get(id);
			if (k) [k.tx, k.ty] = [x, y];
			else this.sparks.set(id, { x, y, tx: x, ty: y, from: performance.now() });
		}
		if (s.r) this.round = s.r;
		const before = this.frames.at(-1);
		const ships = new Map(before?.ships);
		for (const id of left) ships.delete(id);
		for (const p of s.p ?? []) ships.set(p[0], p);
		// No snapshot arrives when nothing moves: the picture stood still until the tick before
		// this one.
		if (before && s.t - before.tick > 2) this.frames.push({ tick: s.t - 1, ships: before.ships });
		this.frames.push({ tick: s.t, ships });
		if (this.frames.length > KEEP) this.frames.splice(0, this.frames.length - KEEP);
		this.tick = s.t;
	}

	last(id) { return this.frames.at(-1)?.ships.get(id); }

	get serverTick() { return performance.now() / TICK + this.ahead; }

	// left is the number of seconds until the end of the round.
	get left() { return Math.max(0, (this.round.ends - this.serverTick) * TICK / 1000); }

	// scores returns the players, the best first.
	get scores() {
		const ships = this.frames.at(-1)?.ships ?? new Map();
		return [...ships.values()].map(([id, , , score]) => ({ id, score, ...this.names.get(id) }))
			.sort((a, b) => b.score - a.score || a.id - b.id);
	}

	// ships returns the ships at the place to draw them now, with their speed in units per tick.
	ships() {
		const at = this.serverTick - BEHIND;
		let i = this.frames.findLastIndex(f => f.tick <= at);
		if (i < 0) i = 0;
		const a = this.frames[i], b = this.frames[i + 1] ?? a;
		if (!a) return [];
		const f = b === a ? 0 : Math.min(1, Math.max(0, (at - a.tick) / (b.tick - a.tick)));
		const out = [];
		for (const [id, p] of a.ships) {
			const q = b.ships.get(id) ?? p, n = this.names.get(id);
			if (!n) continue;
			out.push({ id, x: p[1] + (q[1] - p[1]) * f, y: p[2] + (q[2] - p[2]) * f, score: q[3], state: p[4],
				vx: b === a ? 0 : (q[1] - p[1]) / (b.tick - a.tick), vy: b === a ? 0 : (q[2] - p[2]) / (b.tick - a.tick), name: n.name, hue: n.hue });
		}
		for (const [id, q] of b.ships) { // ships that have just arrived
			const n = this.names.get(id);
			if (!a.ships.has(id) && n) out.push({ id, x: q[1], y: q[2], score: q[3], state: q[4], vx: 0, vy: 0, name: n.name, hue: n.hue });
		}
		return out;
	}
}

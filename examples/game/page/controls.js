// The player's input: keys, or a finger (or the mouse) that is dragged from the place of the first
// touch.

const keys = {
	KeyW: [0, -1], ArrowUp: [0, -1], KeyS: [0, 1], ArrowDown: [0, 1],
	KeyA: [-1, 0], ArrowLeft: [-1, 0], KeyD: [1, 0], ArrowRight: [1, 0],
};
const REACH = 70; // px of dragging for full thrust

export class Controls {
	// changed is called with x and y, -100 to 100, and whether to dash.
	constructor(canvas, button, changed) {
		this.changed = changed;
		this.down = new Set();
		this.x = this.y = 0;
		this.on = false;
		addEventListener("keydown", e => {
			if (!this.on || e.ctrlKey || e.metaKey || e.altKey) return;
			if (e.code === "Space" && !(e.target instanceof HTMLButtonElement)) {
				e.preventDefault();
				if (!e.repeat) this.dash();
			}
			if (!keys[e.code]) return;
			e.preventDefault();
			this.down.add(e.code);
			this.fromKeys();
		});
		addEventListener("keyup", e => { if (this.down.delete(e.code)) this.fromKeys(); });
		addEventListener("blur", () => this.stop());
		document.addEventListener("visibilitychange", () => document.hidden && this.stop());

		let finger = null, from = null;
		canvas.addEventListener("pointerdown", e => {
			if (!this.on) return;
			if (finger !== null) return this.dash(); // a second finger
			finger = e.pointerId;
			from = [e.clientX, e.clientY];
			canvas.setPointerCapture(finger);
		});
		canvas.addEventListener("pointermove", e => {
			if (e.pointerId !== finger) return;
			const dx = e.clientX - from[0], dy = e.clientY - from[1], l = Math.hypot(dx, dy);
			const k = l < 8 ? 0 : 100 / Math.max(l, REACH);
			this.set(dx * k, dy * k);
		});
		const up = e => {
			if (e.pointerId !== finger) return;
			finger = null;
			this.fromKeys();
		};
		canvas.addEventListener("pointerup", up);
		canvas.addEventListener("pointercancel", up);
		button.addEventListener("pointerdown", e => { e.preventDefault(); if (this.on) this.dash(); });
	}

	fromKeys() {
		let x = 0, y = 0;
		for (const k of this.down) { x += keys[k][0]; y += keys[k][1]; }
		this.set(Math.sign(x) * 100, Math.sign(y) * 100);
	}

	set(x, y) {
		[x, y] = [Math.round(x), Math.round(y)];
		if (x === this.x && y === this.y) return;
		[this.x, this.y] = [x, y];
		this.changed(x, y, false);
	}

	dash() { this.changed(this.x, this.y, true); }

	stop() {
		this.down.clear();
		this.set(0, 0);
	}
}

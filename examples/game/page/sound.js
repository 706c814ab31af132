// A few synthesized tones.

export class Sound {
	constructor() {
		this.off = localStorage.getItem("arena.mute") === "1";
	}

	// begin must be called in a user event, because browsers require that.
	begin() { this.ctx ??= new AudioContext(); }

	mute(off) {
		this.off = off;
		localStorage.setItem("arena.mute", off ? "1" : "0");
	}

	happened(e, me) {
		if (e.what === "taken" && e.by === me) this.tone(740 + Math.random() * 60, 1480, 0.09, 0.05, "sine");
		if (e.what === "hit" && (e.by === me || e.whom === me)) this.tone(170, 60, 0.22, 0.14, "triangle");
	}

	tone(from, to, seconds, loud, type) {
		if (this.off || !this.ctx) return;
		const at = this.ctx.currentTime, tone = this.ctx.createOscillator(), gain = this.ctx.createGain();
		tone.type = type;
		tone.frequency.setValueAtTime(from, at);
		tone.frequency.exponentialRampToValueAtTime(to, at + seconds);
		gain.gain.setValueAtTime(loud, at);
		gain.gain.exponentialRampToValueAtTime(0.0001, at + seconds);
		tone.connect(gain).connect(this.ctx.destination);
		tone.start(at);
		tone.stop(at + seconds);
	}
}

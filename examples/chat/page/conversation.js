// The state of a conversation: a room, such as "lobby", or the direct messages with a user, such as
// "@bob".

const KEEP = 500; // lines

export class Conversation {
	constructor(name) {
		this.name = name;
		this.lines = []; // {id, at, from, me, text}, or {notice} or {gap}; in the order of their ids
		this.ids = new Set();
		this.users = [];
		this.unread = 0;
		this.typing = new Map(); // user → time at which it expires
		this.draft = "";
	}

	get direct() { return this.name.startsWith("@"); }

	// add inserts a line in the order of ids, and returns whether it is new. Lines written during
	// the join arrive twice.
	add(line) {
		if (this.ids.has(line.id)) return false;
		this.ids.add(line.id);
		this.typing.delete(line.from);
		let i = this.lines.length;
		while (i > 0 && (!this.lines[i - 1].id || before(line.id, this.lines[i - 1].id))) i--;
		while (i < this.lines.length && !this.lines[i].id) i++; // notices keep their place
		this.lines.splice(i, 0, line);
		if (this.lines.length > KEEP) for (const old of this.lines.splice(0, this.lines.length - KEEP)) this.ids.delete(old.id);
		return true;
	}

	note(text) { this.lines.push({ notice: text, at: new Date().toISOString() }); }

	// gap marks that lines are missing here.
	gap() { if (this.lines.length && !this.lines.at(-1).gap) this.lines.push({ gap: true }); }

	writers(now) {
		for (const [user, until] of this.typing) if (until < now) this.typing.delete(user);
		return [...this.typing.keys()];
	}
}

// before compares ids of entries, "<ms>-<number>".
export function before(a, b) {
	const [am, an] = a.split("-").map(Number), [bm, bn] = b.split("-").map(Number);
	return am < bm || am === bm && an < bn;
}

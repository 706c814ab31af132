// Drawing of lines and names. All text of users becomes text nodes, and is never parsed as HTML.

export function el(name, props = {}, ...children) {
	const e = Object.assign(document.createElement(name), props);
	e.append(...children);
	return e;
}

// renew replaces the children of an element, except equal ones. A user may be about to click on
// one.
export function renew(e, children) {
	children.forEach((c, i) => {
		const old = e.childNodes[i];
		if (!old) e.append(c);
		else if (!old.isEqualNode(c)) old.replaceWith(c);
	});
	while (e.childNodes.length > children.length) e.lastChild.remove();
}

export function avatar(name, small) {
	const a = el("span", { className: "avatar" + (small ? " small" : ""), ariaHidden: "true" }, [...name][0]?.toUpperCase() ?? "?");
	let hue = 0;
	for (const c of name) hue = (hue * 31 + c.codePointAt(0)) % 360;
	a.style.setProperty("--hue", hue);
	return a;
}

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

// linked returns a text with its addresses as links.
function linked(text) {
	const out = [];
	let at = 0;
	for (const m of text.matchAll(/https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/g)) {
		out.push(text.slice(at, m.index), el("a", { href: m[0], target: "_blank", rel: "noopener noreferrer" }, m[0]));
		at = m.index + m[0].length;
	}
	return [...out, text.slice(at)];
}

// drawLines draws a conversation; write is called with the name that was clicked.
export function drawLines(lines, write) {
	const out = [];
	let from, last, today;
	for (const l of lines) {
		if (l.notice) {
			out.push(el("div", { className: "notice" }, l.notice));
			from = undefined;
			continue;
		}
		if (l.gap) {
			out.push(el("div", { className: "day gap" }, "You were away: something may be missing here"));
			from = undefined;
			continue;
		}
		const at = new Date(l.at);
		if (day.format(at) !== today) {
			today = day.format(at);
			out.push(el("div", { className: "day" }, today));
			from = undefined;
		}
		out.push(drawLine(l, at, l.me || l.from !== from || at - last > 300_000, write));
		from = l.me ? undefined : l.from;
		last = at;
	}
	return out;
}

function drawLine(l, at, first, write) {
	const e = el("div", { className: "said" + (first ? " first" : "") + (l.me ? " action" : "") });
	e.dataset.id = l.id;
	const stamp = el("time", { dateTime: l.at, title: at.toLocaleString() }, time.format(at));
	if (l.me) {
		e.append(avatar(l.from, true), el("p", {}, l.from, " ", ...linked(l.text), stamp));
		return e;
	}
	if (!first) e.append(stamp);
	else {
		const name = el("button", { type: "button" }, l.from);
		name.addEventListener("click", () => write(l.from));
		e.append(avatar(l.from), el("header", {}, name, stamp));
	}
	e.append(el("p", {}, ...linked(l.text)));
	return e;
}

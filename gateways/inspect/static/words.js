// Numbers, times and elements. Text enters the page through textContent only.

const plain = new Intl.NumberFormat('en', {maximumFractionDigits: 0});

export function number(n) {
  if (n < 0) return 'unknown';
  if (n < 100000) return plain.format(n);
  if (n < 1e6) return plain.format(n / 1e3) + 'k';
  if (n < 1e9) return (n / 1e6).toFixed(n < 1e7 ? 2 : 1) + 'M';
  return (n / 1e9).toFixed(2) + 'G';
}

export function rate(r) {
  if (!r) return '0';
  if (r < 0.1) return '<0.1';
  if (r < 10) return r.toFixed(1);
  return number(Math.round(r));
}

export const perSecond = (r) => rate(r) + '/s';

export const percent = (share) => Math.round(100 * share) + ' %';

export function span(seconds) {
  if (seconds < 0.001) return '0 s';
  if (seconds < 1) return Math.round(seconds * 1000) + ' ms';
  if (seconds < 60) return (seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)) + ' s';
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min ' + Math.floor(seconds % 60) + ' s';
  if (seconds < 86400) return Math.floor(seconds / 3600) + ' h ' + Math.floor(seconds % 3600 / 60) + ' min';
  return Math.floor(seconds / 86400) + ' d ' + Math.floor(seconds % 86400 / 3600) + ' h';
}

const clock = new Intl.DateTimeFormat('en-GB', {hour: '2-digit', minute: '2-digit', second: '2-digit'});

export const time = (text) => clock.format(new Date(text));

const dateAndClock = new Intl.DateTimeFormat('en-GB', {dateStyle: 'medium', timeStyle: 'medium'});

export const moment = (text) => dateAndClock.format(new Date(text));

export function bytes(n) {
  if (n < 1024) return n + ' B';
  if (n < 1023 * 1024) return (n / 1024).toFixed(1) + ' KiB';
  return (n / 1048576).toFixed(1) + ' MiB';
}

// visible shows control characters, which could hide or reorder text.
export const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
  (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));

// text is visible, for children of an element.
export const text = (s) => visible(String(s));

export function element(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

// say sets an element's text if it differs, so that selections and readers are left alone.
export function say(e, text) {
  text = visible(String(text));
  if (e.textContent !== text) e.textContent = text;
}

export function style(e, className) {
  if (e.className !== className) e.className = className;
}

// Keyed keeps one child element for each key, in order.
export class Keyed {
  constructor(parent, make) {
    this.parent = parent;
    this.make = make;
    this.all = new Map();
  }

  update(items, keyOf, fill) {
    const left = new Map(this.all);
    let at = this.parent.firstElementChild;
    items.forEach((item, i) => {
      const key = keyOf(item, i);
      let e = this.all.get(key);
      if (!e) {
        e = this.make(item);
        this.all.set(key, e);
      }
      left.delete(key);
      if (e === at) at = at.nextElementSibling;
      else this.parent.insertBefore(e, at);
      fill(e, item);
    });
    for (const [key, e] of left) {
      e.remove();
      this.all.delete(key);
    }
  }
}

// Table shows rows of {text, className} cells. Columns whose name starts with # have numbers.
export class Table {
  constructor(table, caption, columns) {
    this.numeric = columns.map((c) => c.startsWith('#'));
    const head = element('tr');
    columns.forEach((c, i) => {
      const th = element('th', this.numeric[i] ? 'number' : '', c.replace('#', ''));
      th.scope = 'col';
      head.append(th);
    });
    const body = element('tbody');
    table.append(element('caption', 'hidden', caption), element('thead', '', head), body);
    this.rows = new Keyed(body, () => element('tr', '', ...columns.map((_, i) => {
      const cell = element(i === 0 ? 'th' : 'td');
      if (i === 0) cell.scope = 'row';
      return cell;
    })));
  }

  update(items, keyOf, cells) {
    this.rows.update(items, keyOf, (row, item) => {
      cells(item).forEach((cell, i) => {
        const {text, className, href} = typeof cell === 'object' ? cell : {text: cell};
        const td = row.children[i];
        if (text === undefined) return; // the caller fills it
        if (href && !td.firstElementChild) td.replaceChildren(element('a', 'link'));
        say(href ? td.firstElementChild : td, text);
        if (href) td.firstElementChild.setAttribute('href', href);
        style(td, ((this.numeric[i] ? 'number ' : '') + (className || '')).trim());
      });
    });
  }
}

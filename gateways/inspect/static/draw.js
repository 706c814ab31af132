// The drawing of a graph: goroutines as boxes, in layers from left to right, and buffers as lines.

import {number, percent, perSecond, say} from './words.js';

const ns = 'http://www.w3.org/2000/svg';
const cardWidth = 196, rowHeight = 46, between = 104, above = 26, margin = 14;
const smallest = 0.72; // a larger graph scrolls

function svg(tag, attributes, parent) {
  const e = document.createElementNS(ns, tag);
  for (const name in attributes) e.setAttribute(name, attributes[name]);
  if (parent) parent.append(e);
  return e;
}

export const heat = (x) => 'heat' + (x < 0.05 ? 0 : x < 0.35 ? 1 : x < 0.6 ? 2 : x < 0.85 ? 3 : 4);

const clip = (text, most) => text.length > most ? text.slice(0, most - 1) + '…' : text;

// layout returns the cards with their places, and the size of the whole.
function layout(graph) {
  const cards = new Map();
  graph.stages.forEach((s) => {
    if (!cards.has(s.lane)) cards.set(s.lane, {lane: s.lane, stages: [], ins: [], outs: [], layer: 0});
    cards.get(s.lane).stages.push(s);
  });
  const laneOf = new Map(graph.stages.map((s) => [s.name, s.lane]));
  for (const l of graph.links) {
    const from = cards.get(laneOf.get(l.from)), to = cards.get(laneOf.get(l.to));
    if (from && to && from !== to) {
      from.outs.push(to);
      to.ins.push(from);
    }
  }
  const all = [...cards.values()];
  for (let round = 0, moved = true; moved && round < all.length; round++) {
    moved = false;
    for (const c of all) for (const next of c.outs) {
      if (next.layer <= c.layer) {
        next.layer = c.layer + 1;
        moved = true;
      }
    }
  }
  const layers = [];
  all.forEach((c) => (layers[c.layer] ||= []).push(c));
  const columns = layers.filter(Boolean);
  order(columns);
  return place(columns);
}

// order moves each card near the middle of those it is linked to.
function order(columns) {
  const rank = (cards) => cards.forEach((c, i) => { c.rank = (i + 1) / (cards.length + 1); });
  columns.forEach(rank);
  const middle = (of, c) => of.length ? of.reduce((sum, o) => sum + o.rank, 0) / of.length : c.rank;
  for (let sweep = 0; sweep < 4; sweep++) {
    const forward = sweep % 2 === 0;
    for (const cards of forward ? columns : [...columns].reverse()) {
      const at = new Map(cards.map((c) => [c, middle(forward ? c.ins : c.outs, c)]));
      cards.sort((a, b) => at.get(a) - at.get(b));
      rank(cards);
    }
  }
}

function place(columns) {
  const heightOf = (c) => c.stages.length * rowHeight;
  const tall = columns.map((cards) => cards.reduce((sum, c) => sum + heightOf(c) + above, -above));
  const height = Math.max(...tall, rowHeight);
  const cards = [];
  columns.forEach((column, i) => {
    let y = margin + (height - tall[i]) / 2;
    for (const c of column) {
      c.x = margin + i * (cardWidth + between);
      c.y = y;
      c.height = heightOf(c);
      y += c.height + above;
      cards.push(c);
    }
  });
  return {cards, width: 2 * margin + columns.length * (cardWidth + between) - between, height: height + 2 * margin};
}

export class Drawing {
  constructor(host) {
    this.host = host;
    this.key = '';
    new ResizeObserver(() => this.fit()).observe(host);
  }

  update(graph) {
    const key = JSON.stringify([graph.name, graph.stages.map((s) => [s.name, s.lane, s.workers]),
      graph.links.map((l) => [l.from, l.to, l.edge])]);
    if (key !== this.key) {
      this.key = key;
      this.build(graph);
    }
    for (const s of graph.stages) this.stage(s, graph);
    for (const l of graph.links) this.line(l);
    this.root.setAttribute('aria-label', `Drawing of ${graph.name}: ${graph.stages.length} stages. ` +
      'The tables below have the same figures.');
  }

  build(graph) {
    const {cards, width, height} = layout(graph);
    [this.width, this.height] = [width, height];
    this.root = svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img'});
    const lines = svg('g', {}, this.root);
    this.stages = new Map();
    this.lines = new Map();
    const rows = new Map();
    for (const c of cards) this.card(c, rows);
    for (const l of graph.links) this.link(l, rows, lines);
    this.host.replaceChildren(this.root);
    this.fit();
  }

  card(c, rows) {
    const g = svg('g', {class: 'card'}, this.root);
    const workers = c.stages[0].workers || 1;
    for (let i = Math.min(workers - 1, 2); i > 0; i--) {
      svg('rect', {class: 'behind', x: c.x + 4 * i, y: c.y + 4 * i, width: cardWidth, height: c.height, rx: 9}, g);
    }
    svg('rect', {class: 'box', x: c.x, y: c.y, width: cardWidth, height: c.height, rx: 9}, g);
    c.stages.forEach((s, i) => {
      const y = c.y + i * rowHeight, row = svg('g', {class: 'row'}, g);
      rows.set(s.name, {card: c, left: c.x, right: c.x + cardWidth, y: y + rowHeight / 2});
      if (i > 0) svg('line', {class: 'rule', x1: c.x + 10, x2: c.x + cardWidth - 10, y1: y, y2: y}, row);
      const mark = svg('rect', {class: 'mark', x: c.x + 1.5, y: y + 1.5, width: cardWidth - 3, height: rowHeight - 3, rx: 7}, row);
      const name = svg('text', {class: 'name', x: c.x + 12, y: y + 19}, row);
      name.textContent = clip(s.name, 17);
      svg('title', {}, row).textContent = s.name;
      const flow = svg('text', {class: 'flow', x: c.x + cardWidth - 12, y: y + 19}, row);
      const note = svg('text', {class: 'note', x: c.x + 12, y: y + 33}, row);
      svg('rect', {class: 'track', x: c.x + 12, y: y + 38, width: cardWidth - 24, height: 3, rx: 1.5}, row);
      const bar = svg('rect', {class: 'busy', x: c.x + 12, y: y + 38, width: 0, height: 3, rx: 1.5}, row);
      this.stages.set(s.name, {mark, flow, note, bar});
    });
  }

  link(l, rows, parent) {
    const from = rows.get(l.from), to = rows.get(l.to);
    if (!from || !to || from.card === to.card) return;
    const [x1, y1, x2, y2] = [from.right, from.y, to.left, to.y];
    const bend = Math.max(40, (x2 - x1) / 2);
    const path = svg('path', {class: 'line', d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 5} ${y2}`}, parent);
    const tip = svg('path', {class: 'tip', d: `M${x2} ${y2}l-8 -4.5v9z`}, parent);
    const t = from.card.outs.length > to.card.ins.length ? 0.66 : from.card.outs.length < to.card.ins.length ? 0.34 : 0.5;
    const at = path.getPointAtLength ? pointOf(x1, y1, bend, x2, y2, t) : {x: (x1 + x2) / 2, y: (y1 + y2) / 2};
    const label = svg('text', {class: 'label', x: at.x, y: at.y - 6}, parent);
    const fill = svg('text', {class: 'label fill', x: at.x, y: at.y + 14}, parent);
    this.lines.set(l.from + '\n' + l.to, {path, tip, label, fill});
  }

  stage(s, graph) {
    const e = this.stages.get(s.name);
    if (!e) return;
    const source = s.kind === 'source' && graph.sources.find((o) => o.name === s.name);
    const notes = [];
    if (source) {
      notes.push(source.paused ? 'paused' : 'source');
      if (source.lag >= 0) notes.push(number(source.lag) + ' unread');
      else notes.push(number(source.in_flight) + ' in flight');
    } else {
      if (s.kind !== 'stage') notes.push(s.kind);
      if (s.workers > 1) notes.push(s.workers + ' workers');
      if (s.busy !== null) notes.push('busy ' + percent(s.busy));
    }
    if (s.fault_rate > 0) notes.push(perSecond(s.fault_rate) + ' fail');
    say(e.note, clip(notes.join(' · '), 32));
    say(e.flow, perSecond(source ? s.out : s.in));
    const full = source ? source.in_flight / Math.max(1, source.max_in_flight) : s.busy || 0;
    e.bar.setAttribute('width', Math.round((cardWidth - 24) * Math.min(1, full)));
    e.bar.setAttribute('class', 'busy' + (full >= 0.9 && !source ? ' hot' : '') + (source ? ' credits' : ''));
    e.note.setAttribute('class', 'note' + (s.fault_rate > 0 ? ' bad' : ''));
    e.mark.setAttribute('class', 'mark' + (s.name === graph.bottleneck ? ' worst' : ''));
  }

  line(l) {
    const e = this.lines.get(l.from + '\n' + l.to);
    if (!e) return;
    e.path.setAttribute('class', 'line ' + (l.edge ? heat(l.heat) : 'call'));
    e.path.style.strokeWidth = l.edge ? 1.5 + 3 * l.heat : 1.5;
    e.tip.setAttribute('class', 'tip ' + (l.edge ? heat(l.heat) : 'call'));
    say(e.label, l.edge ? perSecond(l.rate) : '');
    say(e.fill, !l.edge || !l.size ? '' : l.heat < 0.05 ? '' : l.heat >= 0.85 ? 'full' : percent(l.heat) + ' full');
  }

  fit() {
    if (!this.root) return;
    const room = this.host.clientWidth;
    const scale = Math.max(smallest, Math.min(1, room / this.width));
    this.root.setAttribute('width', Math.floor(this.width * scale));
    this.root.setAttribute('height', Math.ceil(this.height * scale));
  }
}

// pointOf returns a point of the curve of a line.
function pointOf(x1, y1, bend, x2, y2, t) {
  const u = 1 - t;
  const at = (a, b, c, d) => u * u * u * a + 3 * u * u * t * b + 3 * u * t * t * c + t * t * t * d;
  return {x: at(x1, x1 + bend, x2 - bend, x2), y: at(y1, y1, y2, y2)};
}

// sparkline draws the last values of a figure.
export function sparkline(host, values) {
  const width = 120, height = 26, most = Math.max(...values, 1e-9);
  const points = values.map((v, i) =>
    `${(width - (values.length - 1 - i) * width / 59).toFixed(1)},${(height - 2 - (height - 4) * v / most).toFixed(1)}`);
  let line = host.querySelector('polyline');
  if (!line) {
    const root = svg('svg', {viewBox: `0 0 ${width} ${height}`, class: 'spark', 'aria-hidden': 'true', preserveAspectRatio: 'none'}, host);
    line = svg('polyline', {}, root);
  }
  line.setAttribute('points', points.join(' '));
}


// The page: it listens to the live state, and shows the view that the address names.

import {graphButtons} from './act.js';
import {leave, showDead} from './dead.js';
import {Drawing, sparkline} from './draw.js';
import {element, Keyed, number, percent, perSecond, rate, say, span, style, Table, time} from './words.js';

const $ = (id) => document.getElementById(id);

let state = null;      // the last event
let selected = '';     // the graph whose details are sent
let live = null;       // the EventSource
let history = [];      // of the selected graph
let announced = '';    // what was last said to screen readers
const historyLength = 60;
const narrow = matchMedia('(max-width: 760px)');

// route returns the view that the address names.
function route() {
  const [, view, ...path] = location.hash.split('/').map(decoded);
  if (view === 'graph' && path[0]) return {view, name: path[0]};
  if (view === 'dead') return {view, path};
  if (view === 'parts' || view === 'processes') return {view};
  return {view: ''};
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// wanted returns the graph to show: that of the address, else the first where there is room.
function wanted() {
  const {view, name} = route();
  if (view === 'graph') return name;
  return view === '' && !narrow.matches && state && state.graphs.length ? state.graphs[0].name : '';
}

function listen() {
  if (live) live.close();
  live = new EventSource('live?graph=' + encodeURIComponent(selected));
  live.onmessage = (e) => {
    state = JSON.parse(e.data);
    connection('live');
    settle();
    show();
  };
  live.onerror = () => {
    connection(live.readyState === EventSource.CLOSED ? 'closed' : 'lost');
    if (live.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}

// settle listens to another graph if the address names one. It reports whether it did.
function settle() {
  const graph = wanted();
  if (graph === selected || graph === '' || (route().view === '' && selected && known(selected))) return false;
  selected = graph;
  history = [];
  announced = '';
  listen();
  return true;
}

// slow is the age of the figures, in seconds, from which the page tells it.
const slow = 2;

const known = (name) => state.graphs.some((g) => g.name === name);

function connection(to) {
  $('live').dataset.state = to;
  say($('live-text'), {live: 'live', lost: 'connection lost, reconnecting', closed: 'the server refuses; trying again'}[to]);
}

// ---- the list

const levels = ['fine', 'notice', 'warning', 'problem'];

// level names a dot's level for those who do not see its colour and shape.
function level(dot, n) {
  dot.setAttribute('role', 'img');
  dot.setAttribute('aria-label', levels[n]);
  dot.title = levels[n];
}

const graphs = new Keyed($('graphs'), () => {
  const name = element('span', 'name'), flow = element('span', 'rate'), text = element('span', 'text');
  const dot = element('span', 'dot');
  const link = element('a', '', dot, name, flow, text);
  return element('li', '', link);
});

function showList() {
  const {view} = route();
  const filter = $('filter').value.trim().toLowerCase();
  const all = state.graphs.filter((g) => g.name.toLowerCase().includes(filter));
  $('filter').hidden = state.graphs.length < 8;
  graphs.update(all, (g) => g.name, (li, g) => {
    const link = li.firstChild, [dot, name, flow, text] = link.children;
    link.setAttribute('href', '#/graph/' + encodeURIComponent(g.name));
    if ((view === 'graph' || view === '') && g.name === selected && !(view === '' && narrow.matches)) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    style(dot, 'dot level' + g.level);
    level(dot, g.level);
    say(name, g.name);
    say(flow, g.state === 'ended' ? 'ended' : perSecond(g.rate));
    say(text, g.text);
  });
  say($('count-graphs'), state.graphs.length);
  say($('count-parts'), state.parts.length);
  say($('count-processes'), state.processes.length);
  const dead = state.dead.reduce((n, d) => n + Math.max(0, d.count), 0);
  say($('count-dead'), number(dead));
  style($('count-dead'), dead > 0 ? 'count bad' : 'count');
  for (const [id, name] of [['to-parts', 'parts'], ['to-processes', 'processes'], ['to-dead', 'dead']]) {
    if (view === name) $(id).setAttribute('aria-current', 'page');
    else $(id).removeAttribute('aria-current');
  }
}

// ---- one graph

const drawing = new Drawing($('drawing'));
const sources = new Table($('sources'), 'Sources',
  ['source', '#settled', '#unread', '#growth', '#pending', '#in flight', '#oldest', '#dead', '#given back', '#lease lost']);
const stages = new Table($('stages'), 'Stages',
  ['stage', 'kind', '#workers', '#in', '#out', '#busy', '#waits for room', '#faults', '#retries', '#dropped', '#dead', '#restarts']);
const edges = new Table($('edges'), 'Buffers', ['from', 'to', '#rate', '#filled', '#senders wait']);
const events = new Table($('events'), 'Recent faults and events', ['time', 'what', 'stage', 'entry', 'done about it', 'error', 'process']);
const findings = new Keyed($('findings'), () => element('li', '', element('span', 'dot'), element('span', 'said')));

const figures = new Keyed($('figures'), (f) => element('div', '', element('dt', '', f.name), element('dd'), element('dd', 'more')));

function showGraph(g) {
  say($('graph-name'), g.name);
  say($('graph-state'), g.state || 'gone');
  style($('graph-state'), 'pill level' + (g.level > 1 ? g.level : 0));
  const here = g.processes.filter((p) => !p.gone);
  say($('graph-where'), g.processes.length === 1 ? 'for ' + span(g.processes[0].uptime)
    : `in ${here.length} ${here.length === 1 ? 'process' : 'processes'}` + (here.length < g.processes.length ? `, ${g.processes.length - here.length} gone` : ''));
  findings.update(g.findings.slice(0, 8), (f, i) => i, (li, f) => {
    style(li.firstChild, 'dot level' + f.level);
    level(li.firstChild, f.level);
    say(li.lastChild, f.text);
    style(li, 'finding level' + f.level);
  });
  announce(g);
  showWhere(g);
  showFigures(g);
  drawing.update(g);
  showTables(g);
}

// showWhere shows the processes of a graph, and what can be done with it.
const places = new Table($('places'), 'Processes of the graph', ['process', 'state', '#running for', 'failure', 'actions']);

function showWhere(g) {
  const obeys = new Map(state.processes.map((p) => [p.id, p.obeys]));
  const can = g.processes.filter((p) => state.allows.actions && obeys.get(p.id));
  graphButtons($('graph-actions'), g.name, can, '');
  $('graph-places').hidden = g.processes.length < 2;
  places.update(g.processes, (p) => p.id, (p) => [p.id, p.gone ? {text: 'gone', className: 'bad'} : p.state, span(p.uptime), {text: p.failure || '', className: 'long'}, {}]);
  g.processes.forEach((p, i) => graphButtons(places.rows.parent.children[i].lastChild, g.name, can.filter((c) => c.id === p.id), p.id));
}

// announce tells screen readers when a graph gets into trouble or out of it, and nothing else.
function announce(g) {
  const now = g.name + ' ' + g.level;
  if (announced && announced !== now) say($('announce'), `${g.name}: ${levels[g.level]}. ${g.findings[0].text}`);
  announced = now;
}

function showFigures(g) {
  const sum = (of, name) => of.reduce((n, x) => n + x[name], 0);
  const lags = g.sources.filter((s) => s.lag >= 0), lag = sum(lags, 'lag');
  const settled = sum(g.sources, 'rate'), faults = sum(g.stages, 'faults'), faultRate = sum(g.stages, 'fault_rate');
  const dead = sum(g.sources, 'dead');
  history.push({rate: g.rate, lag});
  if (history.length > historyLength) history.shift();
  const all = [{name: 'Throughput', value: perSecond(g.rate), more: 'read', line: history.map((h) => h.rate)}];
  if (lags.length) {
    all.push({name: 'Unread', value: number(lag), line: history.map((h) => h.lag),
      more: lag > 0 && settled > 0.1 ? 'about ' + span(lag / settled) + ' of work' : lag > 0 ? 'waiting' : 'all is read'});
  }
  if (g.sources.length) {
    all.push({name: 'In flight', value: number(sum(g.sources, 'in_flight')), more: 'of ' + number(sum(g.sources, 'max_in_flight'))},
      {name: 'Oldest', value: span(Math.max(0, ...g.sources.map((s) => s.oldest))), more: 'in flight'});
  }
  all.push({name: 'Faults', value: number(faults), more: faultRate > 0 ? perSecond(faultRate) + ' now' : 'since the start', bad: faultRate > 0});
  if (g.sources.length) all.push({name: 'Dead letters', value: number(dead), more: 'since the start', bad: dead > 0});
  figures.update(all, (f) => f.name, (div, f) => {
    const [, value, more] = div.children;
    say(value, f.value);
    style(value, f.bad ? 'bad' : '');
    say(more, f.more);
    if (f.line && f.line.length > 1) sparkline(div, f.line);
  });
}

const mark = (n, text) => ({text: text || number(n), className: n > 0 ? 'bad' : 'zero'});

function showTables(g) {
  sources.update(g.sources, (s) => s.name, (s) => [s.name + (s.paused ? ' (paused)' : ''), perSecond(s.rate), number(s.lag),
    s.lag < 0 ? '' : (s.lag_rate > 0 ? '+' : s.lag_rate < 0 ? '−' : '') + perSecond(Math.abs(s.lag_rate)), number(s.pending),
    `${number(s.in_flight)} of ${number(s.max_in_flight)}`, span(s.oldest),
    s.dead_key ? {...mark(s.dead), href: '#/dead/' + encodeURIComponent(s.dead_key)} : mark(s.dead), mark(s.nacked), mark(s.lost)]);
  stages.update(g.stages, (s) => s.name, (s) => [{text: s.name, className: s.name === g.bottleneck ? 'worst' : ''}, s.kind,
    s.workers ? s.workers + (s.order ? ', order ' + s.order : '') : '1', s.kind === 'source' ? '' : perSecond(s.in), s.kind === 'sink' ? '' : perSecond(s.out),
    s.busy === null ? '–' : {text: percent(s.busy), className: s.busy >= 0.9 ? 'worst' : ''}, percent(s.blocked),
    mark(s.faults), mark(s.retries), mark(s.dropped), mark(s.dead), mark(s.restarts)]);
  edges.update(g.links.filter((l) => l.edge), (l) => l.from + '\n' + l.to, (l) => [l.from, l.to, perSecond(l.rate),
    {text: `${l.fill} of ${l.size} chunks`, className: l.size && l.fill / l.size >= 0.85 ? 'worst' : ''}, percent(l.blocked)]);
  const faultOrNot = {fault: 'a message failed', restart: 'restart', stopping: 'stops because of an error'};
  events.update(g.events, (e) => e.process + e.time + e.kind + (e.stage || '') + (e.id || '') + (e.tries || 0), (e) => [
    time(e.time), {text: faultOrNot[e.kind] || e.kind, className: faultOrNot[e.kind] ? 'bad' : ''}, e.stage || '', e.id || '',
    done(e), {text: e.error || '', className: 'long'}, e.process]);
  $('no-events').hidden = g.events.length > 0;
  $('events').hidden = g.events.length === 0;
}

function done(e) {
  const after = e.after ? ' after ' + span(e.after / 1e9) : '';
  if (e.kind === 'restart') return `restart ${e.tries}${after}`;
  if (e.kind !== 'fault') return '';
  const what = {retry: 'tried again', nack: 'given back', 'dead letter': 'dead letter', drop: 'dropped', stop: 'the graph stops'}[e.do] || e.do;
  return what + after + (e.tries > 1 ? `, try ${e.tries}` : '');
}

// ---- services and gateways

const kinds = {service: 'Service', client: 'Client', route: 'HTTP route', hub: 'WebSocket hub', events: 'Event stream'};

const parts = new Keyed($('parts'), (p) => {
  const card = element('article', 'part', element('h3', '', element('span', 'kind', kinds[p.kind] || p.kind), element('span', 'name')),
    element('p', 'muted'), element('dl', 'numbers'));
  card.figures = new Keyed(card.lastChild, (f) => element('div', '', element('dt', '', f.name), element('dd')));
  return card;
});

function showParts() {
  $('no-parts').hidden = state.parts.length > 0;
  parts.update(state.parts, (p) => p.kind + '\n' + p.name, (card, p) => {
    say(card.firstChild.lastChild, p.name);
    say(card.children[1], p.processes === 1 ? 'in one process' : `in ${p.processes} processes`);
    const all = p.p50 ? [{name: 'half of the calls', text: p.p50}, {name: '99 % of the calls', text: p.p99}, ...p.figures] : p.figures;
    card.figures.update(all, (f) => f.name, (div, f) => {
      say(div.lastChild, f.text || (f.rate ? `${number(f.value)} · ${rate(f.rate)}/s` : number(f.value)));
      style(div, f.bad && f.value > 0 ? (f.rate > 0 ? 'bad' : 'was-bad') : f.text || f.value > 0 ? '' : 'zero');
    });
  });
}

// ---- processes

const processes = new Table($('processes'), 'Processes', ['process', 'state', 'host', '#pid', '#running for', '#graphs', '#last report']);

function showProcesses() {
  processes.update(state.processes, (p) => p.id, (p) => [p.id + (p.here ? ' (this page)' : ''),
    p.gone ? {text: 'gone', className: 'bad'} : p.trouble ? {text: `${p.trouble} of its graphs failed`, className: 'bad'} : 'alive',
    p.host, String(p.pid), span(p.uptime), p.graphs, p.here && state.old < slow ? 'now' : span(p.age + state.old) + ' ago']);
}

// ---- all

function show() {
  if (!state) return;
  const {view, name, path} = route();
  const other = view === 'parts' || view === 'processes' || view === 'dead';
  const graph = other ? null : state.graph;
  document.body.dataset.view = view || 'list';
  document.title = `${state.app}${state.graphs.some((g) => g.level > 1) ? ' (!)' : ''} · inspect`;
  say($('app'), state.app);
  const gone = state.processes.filter((p) => p.gone).length, alive = state.processes.length - gone;
  say($('summary'), `${alive} ${alive === 1 ? 'process' : 'processes'}${gone ? `, ${gone} gone` : ''}` +
    (state.omitted ? `; ${state.omitted} graphs and parts are too many to show` : '') + (state.old < slow ? '' : `; ${span(state.old)} ago`));
  $('notice').hidden = !state.notice;
  say($('notice'), state.notice || '');
  showList();
  $('view-graph').hidden = !graph;
  $('view-parts').hidden = view !== 'parts';
  $('view-processes').hidden = view !== 'processes';
  $('view-dead').hidden = view !== 'dead';
  $('view-empty').hidden = Boolean(graph) || other || (view === '' && state.graphs.length > 0);
  if (view === 'dead') showDead(state, path);
  else leave();
  if (graph) showGraph(graph);
  else if (view === 'dead') return;
  else if (view === 'parts') showParts();
  else if (view === 'processes') showProcesses();
  else if (view === 'graph' && known(name)) empty(name, 'Waiting for its state.');
  else if (view === 'graph') empty(`No graph is called ${name}`, 'It may not have started yet, or all its processes have left.');
  else empty('No graphs yet', 'A graph appears here when it starts with the context of Set.Watch.');
}

function empty(title, text) {
  say($('empty-title'), title);
  say($('empty-text'), text);
}

addEventListener('hashchange', () => {
  if (!state) return;
  if (settle()) state.graph = null;
  show();
  if (narrow.matches) scrollTo(0, 0);
  if (route().view) $('detail').focus({preventScroll: true});
});
$('filter').addEventListener('input', () => state && showList());
narrow.addEventListener('change', () => state && (settle(), show()));

selected = route().view === 'graph' ? route().name : '';
listen();

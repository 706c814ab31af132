// Dead letters: their streams, a page of one stream, one letter, and its editor.

import {act, answer} from './act.js';
import {bytes, element, moment, number, say, Table, text} from './words.js';

const $ = (id) => document.getElementById(id);
const to = (...parts) => '#/dead/' + parts.map(encodeURIComponent).join('/');
const of = (name, more) => name + '?' + new URLSearchParams(more);
const plural = (n) => n === 1 ? '1 dead letter' : `${number(n)} dead letters`;

const streams = new Table($('streams'), 'Streams of dead letters', ['stream', '#dead letters', 'graphs', 'problem']);

let shown = '';      // the address whose content is on the page
let allows = {};     // what the server allows
let chosen = new Set();

// showDead shows what the address names: [], [KEY], [KEY, 'before', ID] or [KEY, 'letter', ID].
export function showDead(state, path) {
  allows = state.allows;
  const [key, what, id] = path;
  $('dead-streams').hidden = Boolean(key);
  $('dead-list').hidden = !key || what === 'letter';
  $('dead-letter').hidden = what !== 'letter';
  if (!key) {
    shown = '';
    streams.update(state.dead, (d) => d.key, (d) => [{text: d.key, href: to(d.key)},
      {text: number(d.count), className: d.count > 0 ? 'bad' : 'zero'}, d.graphs.join(', '), d.error || '']);
    $('no-streams').hidden = state.dead.length > 0;
    $('streams').hidden = state.dead.length === 0;
    return;
  }
  if (location.hash === shown) return; // it does not change by itself
  shown = location.hash;
  if (what === 'letter') showLetter(key, id);
  else showList(key, what === 'before' ? id : '');
}

// leave forgets what is shown, so that it is loaded again.
export const leave = () => { shown = ''; };

// load fills a part of the page when its content has arrived, unless the address has changed since.
async function load(box, what, fill) {
  const at = shown;
  box.setAttribute('aria-busy', 'true');
  try {
    const content = await answer(what);
    if (at === shown) fill(content);
  } catch (e) {
    if (at !== shown) return;
    const again = button('Try again', () => load(box, what, fill));
    box.replaceChildren(element('p', 'notice', text(e.message)), again);
  } finally {
    if (at === shown) box.removeAttribute('aria-busy');
  }
}

function button(name, onclick, className = '') {
  const b = element('button', className, name);
  b.type = 'button';
  b.onclick = onclick;
  return b;
}

function link(href, name) {
  const a = element('a', 'link', text(name));
  a.href = href;
  return a;
}

// ---- a page of a stream

function showList(key, before) {
  say($('list-name'), key);
  chosen = new Set();
  $('list-back').hidden = !before;
  $('list-back').href = to(key);
  load($('list'), of('letters', {key, before}), (page) => fillList(page, before));
}

function fillList(page, before) {
  const more = $('list-more');
  more.hidden = !page.older;
  if (page.older) more.href = to(page.key, 'before', page.older);
  if (!page.letters.length) {
    $('list').replaceChildren(element('p', 'muted', before ? 'There are no older ones.' : 'No dead letters. Nothing to do.'));
    return;
  }
  const tools = element('div', 'tools'), said = element('span', 'muted');
  said.setAttribute('role', 'status');
  const replay = button('Replay…', () => change(page.key, 'replay', [...chosen], page.letters));
  const drop = button('Drop…', () => change(page.key, 'drop', [...chosen], page.letters), 'danger');
  const update = () => {
    say(said, chosen.size ? `${chosen.size} selected` : 'Select some to replay or drop them.');
    replay.disabled = drop.disabled = chosen.size === 0;
  };
  const boxes = page.letters.map((l) => check(`Select ${l.id}`, (on) => on ? chosen.add(l.id) : chosen.delete(l.id), update));
  const every = check('Select all on this page', (on) => boxes.forEach((b) => {
    b.checked = on;
    b.onchange();
  }), update);
  update();
  if (allows.actions) tools.append(replay, drop, said);
  const head = element('tr', '', ...['died', 'error', 'stage', 'attempts', 'from', 'size'].map((name) => column(name)));
  const rows = page.letters.map((l, i) => {
    const tr = element('tr', '', element('td', '', moment(l.died)),
      element('th', 'long', element('span', 'clamp', link(to(page.key, 'letter', l.id), l.error || 'no reason given'))), narrow(l.stage || '–'),
      element('td', 'number', l.attempts ? number(l.attempts) : '–'), narrow(l.from || 'unknown'),
      element('td', 'number', bytes(l.bytes)));
    tr.children[1].scope = 'row';
    if (allows.actions) tr.prepend(element('td', '', boxes[i]));
    return tr;
  });
  if (allows.actions) {
    const first = column('');
    first.append(every);
    head.prepend(first);
  }
  const scroll = element('div', 'scroll', element('table', '', element('caption', 'hidden', text('Dead letters of ' + page.key)),
    element('thead', '', head), element('tbody', '', ...rows)));
  scroll.tabIndex = 0;
  scroll.setAttribute('role', 'group');
  scroll.setAttribute('aria-label', 'Table of dead letters');
  $('list').replaceChildren(...(allows.actions ? [tools] : []), scroll);
}

const narrow = (s) => element('td', '', element('span', 'clip', text(s)));

function column(name) {
  const th = element('th', name === 'attempts' || name === 'size' ? 'number' : '', name);
  th.scope = 'col';
  return th;
}

function check(label, set, update) {
  const box = element('input');
  box.type = 'checkbox';
  box.setAttribute('aria-label', label);
  box.onchange = () => {
    set(box.checked);
    update();
  };
  return box;
}

const explain = {
  replay: 'They are written back to the streams they came from, as new entries, and removed here. All groups of a stream read them.',
  drop: 'They are deleted, and can\'t be brought back.',
};

// change replays or drops dead letters, and loads what is shown again.
async function change(key, what, ids, letters, stream = '') {
  const chosen = letters.filter((l) => ids.includes(l.id));
  const targets = [...new Set(chosen.map((l) => stream || l.from || 'a stream that is not known'))];
  const list = what === 'replay' ? targets.map((t) => `${chosen.filter((l) => (stream || l.from || targets[0]) === t).length} to ${t}`) : [];
  const verb = what === 'replay' ? 'Replay' : 'Drop';
  const at = location.hash;
  const sent = await act({title: `${verb} ${plural(ids.length)} of ${key}?`, text: explain[what], list, yes: verb,
    danger: what === 'drop', doing: verb === 'Replay' ? 'Replaying…' : 'Dropping…'}, {do: what, key, ids, to: stream});
  if (sent) after(key, at);
}

// after shows the stream again when an action has changed it.
function after(key, at) {
  if (location.hash !== at) return;
  if ($('dead-letter').hidden) {
    leave();
    dispatchEvent(new HashChangeEvent('hashchange'));
  } else {
    leave();
    location.hash = to(key);
  }
}

// ---- one letter

function showLetter(key, id) {
  say($('letter-name'), id);
  $('letter-back').href = to(key);
  say($('letter-back'), '‹ ' + key);
  load($('letter'), of('letter', {key, id}), (l) => fillLetter(key, l));
}

function fillLetter(key, l) {
  const facts = element('dl', 'facts');
  const fact = (name, value) => value && facts.append(element('dt', '', name), element('dd', '', text(value)));
  fact('died', moment(l.died));
  fact('where', [l.graph, l.stage].filter(Boolean).join(', at '));
  fact('attempts', l.attempts ? number(l.attempts) : '');
  fact('from', l.from ? `${l.from}, entry ${l.from_id || 'unknown'}` : 'unknown: another program wrote it');
  fact('group', l.group);
  fact('replayed before', l.replayed ? moment(l.replayed) : '');
  const why = element('ol', 'causes', ...[l.error || 'no reason given', ...l.causes].map((c) => element('li', '', text(c))));
  const parts = [facts, element('h3', '', 'Why'), why];
  if (l.stack) {
    const details = element('details', 'glossary', element('summary', '', 'Stack of the panic'), element('pre', '', text(l.stack)));
    parts.push(details);
  }
  parts.push(element('h3', '', `The entry: ${l.fields} ${l.fields === 1 ? 'field' : 'fields'}, ${bytes(l.bytes)}`));
  if (l.hidden) parts.push(element('p', 'muted', text(l.hidden)));
  parts.push(element('div', 'values', ...l.values.map((v, i) => value(key, l, v, i))));
  if (l.omitted) parts.push(element('p', 'muted', `${number(l.omitted)} more fields are not shown here.`));
  if (!l.hidden) parts.push(download('Download all fields as JSON', {key, id: l.id}));
  if (allows.actions) parts.splice(0, 0, letterTools(key, l));
  $('letter').replaceChildren(...parts);
}

function value(key, l, v, i) {
  const box = element('div', 'value', element('p', '', element('strong', '', text(v.name || '(no name)')), ' ',
    element('span', 'muted', bytes(v.bytes) + (v.base64 === undefined ? '' : ', binary, as base64'))));
  if (l.hidden) return box;
  const pre = element('pre', '', text(v.base64 === undefined ? v.text || '' : v.base64));
  pre.tabIndex = 0;
  pre.setAttribute('aria-label', 'Value of ' + text(v.name));
  box.append(pre);
  if (v.cut) box.append(element('p', '', element('span', 'muted', 'Only the beginning is shown. '), download('Download the value', {key, id: l.id, field: i})));
  return box;
}

function download(name, which) {
  const a = link(of('value', which), name);
  a.download = '';
  return a;
}

// letterTools are the buttons of a letter, and the stream to write to if the letter does not name it.
function letterTools(key, l) {
  const tools = element('div', 'tools');
  const stream = element('input');
  stream.type = 'text';
  stream.autocomplete = 'off';
  const target = () => l.from ? '' : stream.value.trim();
  if (!l.from) tools.append(element('label', '', 'Write to the stream ', stream));
  tools.append(button('Replay…', () => change(key, 'replay', [l.id], [l], target())));
  if (!l.hidden) tools.append(button('Edit…', () => edit(key, l, target)));
  tools.append(button('Drop…', () => change(key, 'drop', [l.id], [l]), 'danger'));
  return tools;
}

// ---- the editor

function edit(key, l, target) {
  load($('letter'), of('letter', {key, id: l.id, whole: 1}), (whole) => {
    const form = element('div', 'editor'), fields = element('div', 'values');
    const editors = whole.values.map((v, i) => editor(fields, v, i));
    form.append(element('p', 'muted', 'Fields that you leave alone keep each byte.'), fields,
      element('div', 'tools', button('Add a field', () => {
        editors.push(editor(fields, null));
        fields.lastElementChild.querySelector('input').focus();
      })),
      element('div', 'tools', button('Replay the edited entry…', () => replayEdited(key, l, editors, target()), 'primary'),
        button('Cancel', () => fillLetter(key, l))));
    $('letter').replaceChildren(form);
    (form.querySelector('textarea') || form.querySelector('button')).focus();
  });
}

// editor adds one field. It returns a function with what to send; null for a removed field.
function editor(host, v, i) {
  const area = element('textarea'), id = 'field-' + host.childElementCount + '-' + Date.now();
  const binary = v !== null && v.base64 !== undefined, before = v === null ? '' : binary ? v.base64 : v.text || '';
  area.id = id;
  area.spellcheck = false;
  area.value = before;
  area.rows = Math.min(16, Math.max(2, before.split('\n').length, Math.ceil(before.length / 90)));
  const label = element('label', '', v === null ? 'value' : text(v.name || '(no name)'));
  label.htmlFor = id;
  const row = element('div', 'value');
  let name = null;
  if (v === null) {
    name = element('input');
    name.type = 'text';
    row.append(element('label', '', 'name ', name));
  }
  let removed = false;
  const remove = button('Remove', () => {
    removed = true;
    row.remove();
  });
  remove.setAttribute('aria-label', 'Remove the field ' + text(v === null ? 'that was added' : v.name));
  row.append(element('p', '', label, ' ', element('span', 'muted', binary ? 'edit it as base64: a text would change its bytes' : ''), ' ', remove), area);
  host.append(row);
  return () => {
    if (removed) return null;
    if (v === null) return {name: name.value, text: area.value};
    if (area.value === before) return {of: i};
    return binary ? {of: i, base64: area.value.replace(/\s/g, '')} : {of: i, text: area.value};
  };
}

async function replayEdited(key, l, editors, stream) {
  const values = editors.map((e) => e()).filter(Boolean), at = location.hash;
  const changed = values.filter((v) => v.of === undefined || v.text !== undefined || v.base64 !== undefined).length;
  const sent = await act({title: `Replay ${l.id} with other values?`, yes: 'Replay', doing: 'Replaying…',
    text: `It is written to ${stream || l.from || 'a stream that is not known'} as a new entry, and removed here.`,
    list: [`${values.length} of its fields are written, ${changed} of them changed or new`]},
  {do: 'edit', key, ids: [l.id], to: stream, values});
  if (sent && !$('result').className.includes('bad')) after(key, at);
}

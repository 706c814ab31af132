// Actions: a dialog asks, the server acts, and the result is said.

import {element, say, style} from './words.js';

const $ = (id) => document.getElementById(id);

// answer sends a request and returns its JSON. Every failure becomes an error with a text for people.
export async function answer(url, body) {
  const options = body === undefined ? {} : {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)};
  let response, json;
  try {
    response = await fetch(url, {...options, signal: AbortSignal.timeout(20000)});
  } catch (e) {
    throw new Error(e.name === 'TimeoutError' ? 'The server did not answer within 20 s.' : 'The server can\'t be reached.');
  }
  try {
    json = await response.json();
  } catch {
    throw new Error(`The server answered with status ${response.status}, and without a text.`);
  }
  if (!response.ok) throw new Error(json.text || `The server answered with status ${response.status}.`);
  return json;
}

// ask shows the dialog and resolves to whether the answer was yes. The browser moves the focus into the
// dialog and back.
export function ask({title, text, list = [], yes, danger}) {
  const dialog = $('confirm');
  say($('confirm-title'), title);
  say($('confirm-text'), text);
  $('confirm-list').replaceChildren(...list.map((line) => {
    const li = element('li');
    say(li, line);
    return li;
  }));
  say($('confirm-yes'), yes);
  style($('confirm-yes'), danger ? 'danger' : 'primary');
  return new Promise((resolve) => {
    const end = (yes) => () => {
      dialog.close();
      resolve(yes);
    };
    $('confirm-yes').onclick = end(true);
    $('confirm-no').onclick = end(false);
    dialog.oncancel = () => resolve(false); // Escape; the close event may come after the next question
    dialog.showModal();
    $('confirm-no').focus();
  });
}

// tell says the result of an action.
export function tell(text, lines = [], kind = '') {
  $('result').hidden = false;
  style($('result'), 'result ' + kind);
  say($('result-text'), text);
  $('result-lines').replaceChildren(...lines.map((line) => {
    const li = element('li');
    say(li, line);
    return li;
  }));
}

$('result-close').addEventListener('click', () => {
  $('result').hidden = true;
  $('detail').focus({preventScroll: true});
});

let busy = false;

// act asks, does an action, and says its result. It resolves to whether anything was sent.
export async function act(question, body) {
  if (busy || !await ask(question)) return false;
  busy = true;
  tell(question.doing || 'Working…', [], 'busy');
  try {
    const o = await answer('act', body);
    tell(o.text, o.lines, o.ok ? 'good' : 'bad');
  } catch (e) {
    tell(e.message, [], 'bad');
  }
  busy = false;
  return true;
}

const verbs = {
  pause: {name: 'Pause', doing: 'Pausing…', text: 'Its sources stop reading until it is resumed. What they have read goes on. A process that starts later is not paused.'},
  resume: {name: 'Resume', doing: 'Resuming…', text: 'Its sources read again.'},
  drain: {name: 'Drain', doing: 'Starting to drain…', danger: true,
    text: 'Its sources stop reading, it finishes what it has read, and then it ends. Only a restart of the process starts it again.'},
};

// possible returns what can be done with a graph in a state.
const possible = (state) => ({active: ['pause', 'drain'], paused: ['resume', 'drain']}[state] || []);

// graphButtons fills host with buttons for a graph in processes; process is '' for all of them.
export function graphButtons(host, graph, processes, process) {
  const alive = processes.filter((p) => !p.gone);
  const all = ['pause', 'resume', 'drain'].filter((v) => alive.some((p) => possible(p.state).includes(v)));
  const key = graph + '\n' + process + '\n' + all;
  if (host.dataset.key === key) return;
  const focused = host.contains(document.activeElement) ? document.activeElement.dataset.verb : '';
  host.dataset.key = key;
  host.replaceChildren(...all.map((v) => {
    const b = element('button', '', verbs[v].name);
    b.type = 'button';
    b.dataset.verb = v;
    b.setAttribute('aria-label', `${verbs[v].name} ${graph}` + (process ? ' in ' + process : ''));
    const where = process ? ' in ' + process : alive.length > 1 ? ` in all ${alive.length} processes` : '';
    b.onclick = () => act({title: `${verbs[v].name} ${graph}${where}?`, yes: verbs[v].name, ...verbs[v]}, {do: v, graph, process});
    return b;
  }));
  if (focused) (host.querySelector(`[data-verb=${focused}]`) || host.firstElementChild || $('detail')).focus();
}

// Everything that is shown was chosen by its sender: it becomes text, and never markup.

const PAGE = 50;
const MOST_BYTES = 1024 * 1024; // of a payload, loaded at once
const SHOWN = 40_000; // characters of a payload, shown at once
const SHOWN_BYTES = 4096; // the same in hexadecimal

const byId = (id) => document.getElementById(id);
const main = document.querySelector("main");
const form = byId("filter");
const testForm = byId("test");
const rows = byId("rows");

let before = null; // where the page that is shown starts; null for the newest
let next = null;
let newest = null; // the highest number that was shown
let shown = null; // the delivery that is open
let payload = null;
let view = "pretty";
let overview = { source: "", states: [] };

function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// Characters that can't be seen, or that turn the direction of what is around them.
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

function visible(text) {
  const name = (char) => "\u27e8U+" + char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "\u27e9";
  return String(text).replace(/\r\n/g, "\n").replace(ODD, name);
}

const theirs = (text) => el("bdi", {}, visible(text).replace(/\n/g, "\u23ce"));

function size(bytes) {
  if (bytes < 1024) return bytes + " B";
  if (bytes < 1024 * 1024) return (bytes / 1024).toFixed(1) + " KiB";
  return (bytes / 1024 / 1024).toFixed(1) + " MiB";
}

function time(text) {
  if (!text) return "";
  const date = new Date(text);
  const today = new Date().toDateString() === date.toDateString();
  const label = today ? date.toLocaleTimeString() : date.toLocaleString();
  return el("time", { datetime: text, title: text }, label);
}

const MOODS = {
  handled: "good", done: "good", answered: "good",
  failed: "bad", refused: "bad", dead: "bad", aborted: "bad",
  waiting: "wait", in_flight: "wait",
};

function mark(state) {
  return el("span", { class: "state " + (MOODS[state] || "") }, state.replace("_", " "));
}

async function ask(path, options) {
  const response = await fetch("inspect/" + path, { credentials: "same-origin", ...options });
  if (response.ok) return response;
  let told = response.status + " " + response.statusText;
  try {
    told = (await response.json()).error || told;
  } catch {
    // The status is all there is.
  }
  const error = new Error(told);
  error.status = response.status;
  throw error;
}

const number = (count) => count.toLocaleString();

// The list

function filters() {
  const parameters = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value.trim()) parameters.set(name, value.trim());
  }
  return parameters;
}

let listing = 0;
let isTold = true; // whether the user knows what came of the last question

// Loads the page again, and tells of it only if the user asked. What is asked last counts.
async function list(isAsked) {
  const turn = ++listing;
  if (isAsked) isTold = false;
  const parameters = filters();
  const isFiltered = parameters.size > 0;
  if (isAsked) byId("status").textContent = "Searching";
  try {
    let found = [];
    let from = before;
    // A search reads a part of the store at a time.
    for (let part = 0; part < 20 && found.length < PAGE; part++) {
      parameters.set("limit", PAGE - found.length);
      if (from !== null) parameters.set("before", from);
      const answer = await (await ask("deliveries?" + parameters)).json();
      if (turn !== listing) return;
      found = found.concat(answer.rows);
      from = answer.next;
      if (from === null) break;
    }
    next = from;
    const counted = await (await ask("overview")).json();
    if (turn !== listing) return;
    count(counted);
    draw(found);
    if (!isTold) {
      isTold = true;
      const many = found.length === 1 ? "1 delivery" : found.length + " deliveries";
      const rest = next === null ? "" : isFiltered ? ". There may be older ones" : ", and there are older ones";
      byId("status").textContent = found.length ? many + rest + "." : isFiltered ? "Nothing found" + rest + "." : "Nothing has arrived yet.";
    }
  } catch (error) {
    if (turn === listing) byId("status").textContent = "The list could not be loaded: " + error.message;
  }
}

function count(counted) {
  overview = counted;
  const all = counted.states.reduce((sum, [, count]) => sum + count, 0);
  const parts = counted.states.filter(([, count]) => count).map(([state, count]) => number(count) + " " + state.replace("_", " "));
  const paused = counted.paused ? " (paused)" : "";
  byId("counts").textContent = number(all) + " deliveries" + (parts.length ? ": " + parts.join(", ") : "") + paused;
  // With the headers around it.
  byId("size").textContent = counted.source === "inbox" ? "Stored size" : "Size";
  testForm.hidden = !counted.sends_test_events;
  const choice = form.elements.state;
  if (choice.options.length === 1) {
    for (const [state] of counted.states) choice.add(new Option(state.replace("_", " "), state));
  }
}

function draw(found) {
  const focused = rows.contains(document.activeElement) ? document.activeElement.closest("tr").dataset.id : null;
  const old = new Map([...rows.children].map((row) => [row.dataset.id, row]));
  const isFirst = old.size === 0;
  const drawn = found.map((delivery) => {
    const key = String(delivery.id);
    const text = JSON.stringify(delivery);
    const known = old.get(key);
    if (known && known.text === text) return known;
    const row = line(delivery);
    row.text = text;
    if (!known && !isFirst && newest !== null && delivery.id > newest) row.classList.add("is-new");
    return row;
  });
  newest = found.reduce((most, delivery) => Math.max(most, delivery.id), newest ?? -1);
  rows.replaceChildren(...drawn);
  choose();
  if (focused) rows.querySelector(`tr[data-id="${focused}"] a`)?.focus();
  byId("older").disabled = next === null;
  byId("newest").disabled = before === null;
}

function line(delivery) {
  const number = el("th", { scope: "row" }, el("a", { href: "#" + delivery.id }, String(delivery.id)));
  const row = el("tr", { "data-id": delivery.id },
    number,
    el("td", {}, mark(delivery.state)),
    el("td", { class: "cut" }, theirs(delivery.provider || "")),
    el("td", { class: "cut" }, theirs(delivery.event || "")),
    el("td", {}, time(delivery.received_at)),
    el("td", { class: "number spare" }, size(delivery.bytes)),
    el("td", { class: "number spare" }, String(delivery.attempts)),
    el("td", { class: "note spare" }, theirs((delivery.note || "").slice(0, 300))),
  );
  // The link is for the keyboard; the mouse may hit the whole row.
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !String(getSelection())) location.hash = delivery.id;
  });
  return row;
}

function choose() {
  for (const row of rows.children) {
    const isChosen = shown !== null && row.dataset.id === String(shown.id);
    row.classList.toggle("is-chosen", isChosen);
    const link = row.querySelector("a");
    if (isChosen) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

// One delivery

async function open(id, isAsked) {
  try {
    const delivery = await (await ask("deliveries/" + id)).json();
    if (location.hash !== "#" + id) return;
    const isOther = shown === null || shown.id !== delivery.id;
    const text = JSON.stringify(delivery);
    if (!isOther && shown.text === text) return;
    shown = delivery;
    shown.text = text;
    describe(delivery);
    byId("detail").hidden = false;
    main.classList.add("has-detail");
    choose();
    if (isOther) {
      byId("told").textContent = "";
      byId("payload").replaceChildren();
      if (isAsked) byId("detail-title").focus();
      await load(delivery);
    }
  } catch (error) {
    if (isAsked) byId("status").textContent = "Delivery " + id + " could not be loaded: " + error.message;
  }
}

function close() {
  const id = shown && shown.id;
  shown = payload = null;
  byId("detail").hidden = true;
  main.classList.remove("has-detail");
  choose();
  const link = id !== null && rows.querySelector(`tr[data-id="${id}"] a`);
  (link || byId("list")).focus();
}

function describe(delivery) {
  byId("detail-title").replaceChildren("Delivery " + delivery.id + " ", mark(delivery.state));
  const parts = [];
  if (delivery.reason) {
    parts.push(el("p", { class: "reason" }, el("strong", {}, delivery.state === "refused" ? "Refused: " : "What happened: "), theirs(delivery.reason)));
  }
  if (delivery.explanation.length) {
    const causes = delivery.explanation.map((cause) => el("li", {}, theirs(cause)));
    parts.push(el("div", { class: "cure" }, el("strong", {}, "What would fix it"), el("ol", {}, ...causes)));
  }
  parts.push(actions(delivery));
  const facts = [
    ["Sender", delivery.provider], ["Event", delivery.event], ["Sender\u2019s id", delivery.event_id],
    ["Request", delivery.method + " " + delivery.url], ["Arrived", time(delivery.received_at)],
    ["Attempts", String(delivery.attempts)], ...delivery.facts,
  ];
  const terms = facts.filter(([, value]) => value).flatMap(([name, value]) =>
    [el("dt", {}, name), el("dd", {}, value instanceof Node ? value : theirs(value))]);
  parts.push(el("dl", {}, ...terms));
  parts.push(el("h3", {}, "What the signature covers"), covered(delivery.signed));
  if (delivery.past.length) {
    const past = delivery.past.map((attempt) => el("li", { value: attempt.attempt }, time(attempt.ended_at), " ", theirs(attempt.detail)));
    parts.push(el("h3", {}, "Failed attempts"), el("ol", {}, ...past));
  }
  const headers = delivery.headers.flatMap(([name, value]) => [el("dt", {}, theirs(name)), el("dd", {}, theirs(value))]);
  byId("summary").replaceChildren(...parts);
  byId("headers").replaceChildren(headers.length ? el("dl", {}, ...headers) : el("p", {}, "None was kept."));
}

function covered(signed) {
  if (!signed) return el("p", {}, "Nothing is proven: the request was not verified.");
  const names = { body: "body", timestamp: "timestamp", id: "id", event: "event", url: "URL" };
  const item = ([key, name]) => el("li", { class: "state " + (signed[key] ? "good" : "") }, name + (signed[key] ? ": signed" : ": not signed"));
  const items = Object.entries(names).map(item);
  const none = Object.keys(names).every((key) => !signed[key]);
  const note = none ? el("p", {}, "The sender proves who it is, and nothing about the content.") : "";
  return el("div", {}, el("ul", { class: "signed" }, ...items), note);
}

function actions(delivery) {
  const buttons = [];
  if (delivery.can_replay) buttons.push(el("button", { type: "button", id: "replay", onclick: () => replay(delivery.id, false) }, "Replay"));
  if (delivery.curl) buttons.push(el("button", { type: "button", id: "curl", onclick: () => copy(delivery.curl) }, "Copy as curl"));
  const path = "inspect/deliveries/" + delivery.id;
  const isWhole = delivery.kept_bytes === delivery.body_bytes;
  if (isWhole) buttons.push(el("a", { href: path + "/request.http", download: "" }, "Save as .http"));
  buttons.push(el("a", { href: path + "/body", download: "" }, "Save the payload"));
  return el("div", { class: "actions" }, ...buttons);
}

async function replay(id, force) {
  const told = byId("told");
  told.textContent = "Replaying";
  try {
    const options = { method: "POST", headers: { "x-inspect": "1" } };
    const answer = await (await ask(`deliveries/${id}/replay?force=${force}`, options)).json();
    told.textContent = visible(answer.replayed) + ".";
    await list(false);
    await open(id, false);
  } catch (error) {
    told.textContent = error.status === 409 ? "It was handled already. " : "It could not be replayed: " + visible(error.message);
    if (error.status === 409) {
      const again = el("button", { type: "button", id: "force", onclick: () => replay(id, true) }, "Handle it again");
      told.append(again);
      again.focus();
    }
  }
}

async function sendTestEvent() {
  const told = testForm.querySelector("output");
  told.textContent = "Sending";
  try {
    const event = encodeURIComponent(testForm.elements.event.value.trim());
    const options = { method: "POST", headers: { "x-inspect": "1" } };
    const answer = await (await ask("test-event?event=" + event, options)).json();
    told.textContent = "Sent: " + visible(answer.sent) + ".";
    await list(false);
  } catch (error) {
    told.textContent = "It could not be sent: " + visible(error.message);
  }
}

async function copy(text) {
  const told = byId("told");
  try {
    await navigator.clipboard.writeText(text);
    told.textContent = "Copied.";
  } catch {
    // Without HTTPS there may be no clipboard.
    const area = el("textarea", { readonly: "", "aria-label": "The command" });
    area.value = text;
    told.replaceChildren("Copy it from here:", area);
    area.select();
  }
}

// The payload

async function load(delivery) {
  payload = null;
  byId("payload-note").textContent = "Loading";
  byId("more").hidden = true;
  try {
    const answer = await ask(`deliveries/${delivery.id}/body?bytes=${MOST_BYTES}`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    if (shown === null || shown.id !== delivery.id) return;
    let text, isText = true;
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
      isText = bytes.length < delivery.kept_bytes;
    }
    payload = { bytes, text, isText, whole: bytes.length === delivery.body_bytes, delivery };
    show();
  } catch (error) {
    byId("payload-note").textContent = "The payload could not be loaded: " + error.message;
  }
}

function show() {
  if (!payload) return;
  for (const button of byId("views").children) button.setAttribute("aria-pressed", String(button.dataset.view === view));
  const { bytes, text, isText, whole, delivery } = payload;
  const notes = [size(delivery.body_bytes)];
  if (!whole && delivery.kept_bytes < delivery.body_bytes) notes.push("only the first " + size(delivery.kept_bytes) + " were kept");
  if (bytes.length < delivery.kept_bytes) notes.push("the first " + size(bytes.length) + " are shown; save it for the rest");
  if (!isText) notes.push("not UTF-8");
  if (!bytes.length && delivery.state === "refused") notes.push("refused by its head, before the body was read");
  let content = text;
  if (view === "pretty") {
    const formatted = whole ? format(text, delivery) : null;
    if (formatted === null && bytes.length) notes.push(whole ? "neither JSON nor a form" : "too long to be formatted");
    content = formatted ?? text;
  }
  byId("payload-note").textContent = notes.join(", ");
  byId("payload").replaceChildren();
  payload.rest = view === "hex" ? (from) => dump(bytes, from) : (from) => piece(content, from);
  payload.at = 0;
  more();
}

// Shows the next piece; a whole payload at once could be more than a browser lays out in time.
function more() {
  const { element, end, isLast } = payload.rest(payload.at);
  payload.at = end;
  byId("payload").append(element);
  byId("more").hidden = isLast;
}

function piece(text, from) {
  let end = Math.min(from + SHOWN, text.length);
  // Two halves of one character stay together.
  if (end < text.length && /[\ud800-\udbff]/.test(text[end - 1])) end += 1;
  return { element: el("pre", {}, ...marked(text.slice(from, end))), end, isLast: end >= text.length };
}

// Text, with what can't be seen in it named and marked.
function marked(raw) {
  const text = raw.replace(/\r\n/g, "\n");
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(ODD)) {
    parts.push(text.slice(at, match.index), el("span", { class: "odd" }, visible(match[0])));
    at = match.index + match[0].length;
    if (parts.length > 2000) break;
  }
  parts.push(visible(text.slice(at)));
  return parts;
}

function dump(bytes, from) {
  const end = Math.min(from + SHOWN_BYTES, bytes.length);
  const lines = [];
  for (let at = from; at < end; at += 16) {
    const part = [...bytes.subarray(at, Math.min(at + 16, end))];
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const plain = part.map((byte) => (byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(at.toString(16).padStart(8, "0") + "  " + hex.padEnd(48) + " " + plain);
  }
  return { element: el("pre", { class: "hex" }, lines.join("\n")), end, isLast: end >= bytes.length };
}

// Returns the payload with line breaks where they help, or null if it is of no known form.
function format(text, delivery) {
  const json = indent(text);
  if (json !== null) return json;
  const [, type = ""] = delivery.headers.find(([name]) => name === "content-type") || [];
  if (!type.startsWith("application/x-www-form-urlencoded")) return null;
  return [...new URLSearchParams(text)].map(([name, value]) => name + " = " + (indent(value) ?? value)).join("\n");
}

// Breaks the lines of JSON, and leaves every token as it is: a large number would not survive parsing.
function indent(json) {
  try {
    const value = JSON.parse(json);
    if (value === null || typeof value !== "object") return null;
  } catch {
    return null;
  }
  let out = "", depth = 0;
  const line = () => "\n" + "  ".repeat(Math.min(depth, 20));
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '"') {
      let end = at + 1;
      while (json[end] !== '"') end += json[end] === "\\" ? 2 : 1;
      out += json.slice(at, end + 1);
      at = end;
    } else if (char === "{" || char === "[") {
      let end = at + 1;
      while (/\s/.test(json[end])) end++;
      if (json[end] === "}" || json[end] === "]") {
        out += char + json[end];
        at = end;
      } else {
        depth++;
        out += char + line();
      }
    } else if (char === "}" || char === "]") {
      depth--;
      out += line() + char;
    } else if (char === ",") {
      out += char + line();
    } else if (char === ":") {
      out += ": ";
    } else if (!/\s/.test(char)) {
      out += char;
    }
  }
  return out;
}

// What happens

form.addEventListener("submit", (event) => {
  event.preventDefault();
  before = null;
  list(true);
});
form.addEventListener("reset", () => setTimeout(() => form.requestSubmit()));
testForm.addEventListener("submit", (event) => {
  event.preventDefault();
  sendTestEvent();
});
form.elements.state.addEventListener("change", () => form.requestSubmit());
byId("older").addEventListener("click", () => {
  before = next;
  list(true).then(() => byId("list").focus());
});
byId("newest").addEventListener("click", () => {
  before = null;
  list(true).then(() => byId("list").focus());
});
byId("views").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  view = button.dataset.view;
  show();
});
byId("more").addEventListener("click", more);
byId("close").addEventListener("click", () => (location.hash = ""));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && shown && !event.target.closest("input, select, textarea")) location.hash = "";
});

function follow(isAsked) {
  const id = location.hash.slice(1);
  if (/^\d+$/.test(id)) open(id, isAsked);
  else if (shown) close();
}
addEventListener("hashchange", () => follow(true));

let isBusy = false;
let isStale = false;

// One change after the other, however fast they come.
async function refresh() {
  isStale = true;
  if (isBusy) return;
  isBusy = true;
  while (isStale) {
    isStale = false;
    const known = newest;
    // An older page stays as it is, and a search of payloads is only done when it is asked for.
    if (before === null && !filters().has("q")) await list(false);
    if (shown) await open(shown.id, false);
    if (known !== null && newest > known) byId("status").textContent = "There are new deliveries.";
    await new Promise((done) => setTimeout(done, 500));
  }
  isBusy = false;
}

function listen() {
  const changes = new EventSource("inspect/changes");
  const tell = (kind, text) => {
    byId("live").className = kind;
    byId("live-text").textContent = text;
  };
  changes.addEventListener("open", () => {
    tell("is-live", "Live");
    refresh();
  });
  changes.addEventListener("change", refresh);
  changes.addEventListener("error", () => {
    tell("is-lost", "Not connected");
    if (changes.readyState === EventSource.CLOSED) {
      setTimeout(listen, 5000);
    }
  });
}

list(true).then(() => follow(true));
listen();

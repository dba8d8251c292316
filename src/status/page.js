"use strict";
// Fetches status.json once a second and shows it. Text from outside is inserted as text, never as markup.

const PERIOD = 1000;
// A browser opens six connections to a host: with more streams than this, single pictures are fetched, so that figures need not wait.
const MOST_MOVING = 3;
const cards = new Map();
const byId = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Sets text only where it differs, so that a selection stays and a screen reader is not disturbed.
function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

const short = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 1 });
const number = (value) => value.toLocaleString("en-US");
const fixed = (value, digits, unit) => (value == null ? "–" : `${value.toFixed(digits)} ${unit}`);
const percent = (value) => fixed(value, value != null && value > 0 && value < 10 ? 2 : 0, "%");

function duration(seconds) {
  const s = Math.floor(seconds);
  const parts = [[Math.floor(s / 86400), "d"], [Math.floor(s / 3600) % 24, "h"], [Math.floor(s / 60) % 60, "min"], [s % 60, "s"]];
  const from = parts.findIndex(([n]) => n > 0);
  return from < 0 ? "0 s" : parts.slice(from, from + 2).map(([n, unit]) => `${n} ${unit}`).join(" ");
}

function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${n.toFixed(unit ? 1 : 0)} ${units[unit]}`;
}

const STATES = {
  waiting: "waiting",
  waiting_for_viewers: "waiting for viewers",
  streaming: "live",
  no_signal: "no signal",
  ended: "ended",
};

function badge(stream) {
  if (stream.state !== "streaming") return [STATES[stream.state] || stream.state, stream.state.startsWith("waiting") ? "" : "bad"];
  return stream.is_healthy ? ["live", "good"] : ["no frames", "bad"];
}

const isSender = (stream) => "frames_sent" in stream;

function figures(stream, uptime) {
  const format = stream.format;
  const shown = [
    ["picture", format ? `${format.width} × ${format.height}` : "–"],
    ["frame rate", fixed(stream.fps, 1, "fps")],
    ["data rate", fixed(stream.mbit_per_s, 1, "Mbit/s")],
  ];
  if (isSender(stream)) {
    shown.push(
      ["viewers", number(stream.watching.length)],
      ["loss at viewers", percent(stream.loss_percent)],
      ["repair overhead", percent(stream.repair_overhead_percent)],
      ["frames sent", number(stream.frames_sent)],
      ["frames dropped", number(stream.frames_dropped)],
      ["sent", bytes(stream.bytes_sent)],
    );
  } else {
    const delay = stream.delay_ms;
    shown.push(
      ["delay, median", delay ? fixed(delay.p50, 1, "ms") : "–"],
      ["loss", percent(stream.loss_percent)],
      ["repair overhead", percent(stream.repair_overhead_percent)],
      ["frames whole", number(stream.frames_whole + stream.frames_repaired)],
      ["frames lost", number(stream.frames_lost + stream.frames_partial)],
      ["received", bytes(stream.bytes_received)],
    );
  }
  if (format) shown.push(["format", `JPEG ${format.sampling}`]);
  shown.push(["running for", duration(uptime)]);
  return shown;
}

// Fills a <dl> of which only the values change later.
function list(place, pairs) {
  while (place.children.length > pairs.length) place.lastElementChild.remove();
  pairs.forEach(([name, value], i) => {
    let row = place.children[i];
    if (!row) {
      row = element("div");
      row.append(element("dt"), element("dd"));
      place.append(row);
    }
    say(row.children[0], name);
    say(row.children[1], value);
  });
}

const CHARTS = [
  ["fps", "frame rate", "fps"],
  ["mbit_per_s", "data rate", "Mbit/s"],
  ["loss_percent", "loss", "%"],
  ["viewers", "viewers", ""],
];
const MINUTES = 300;

function chart(place, index, title, unit, values) {
  let box = place.children[index];
  if (!box) {
    box = element("div", "chart");
    const head = element("p");
    head.append(element("span"), element("span"));
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${MINUTES - 1} 100`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    box.append(head, svg);
    place.append(box);
  }
  const [head, svg] = box.children;
  const known = values.filter((v) => v !== null);
  const most = Math.max(...known, 0);
  const least = Math.min(...known, most);
  const range = least === most ? short(most) : `${short(least)} to ${short(most)}`;
  say(head.children[0], title);
  say(head.children[1], `${range} ${unit}`.trim());
  svg.setAttribute("aria-label", `${title} in the last five minutes: ${range} ${unit}`.trim());
  const top = Math.max(most, 1e-9) * 1.05;
  let path = "";
  let isPen = false;
  values.forEach((value, i) => {
    if (value === null) { isPen = false; return; }
    const x = MINUTES - values.length + i;
    path += `${isPen ? "L" : "M"}${x} ${(98 - (value / top) * 96).toFixed(1)}`;
    isPen = true;
  });
  svg.firstChild.setAttribute("d", path);
}

function charts(place, stream) {
  // A sender whose viewers do not report does not know loss and viewers.
  const isKnown = (key) => stream.history[key].some((value) => value !== null && (key !== "viewers" || value > 0));
  const shown = CHARTS.filter(([key]) => isKnown(key));
  while (place.children.length > shown.length) place.lastElementChild.remove();
  shown.forEach(([key, title, unit], i) => chart(place, i, title, unit, stream.history[key]));
}

function audience(place, stream) {
  place.hidden = !isSender(stream);
  if (place.hidden) return;
  const viewers = stream.watching;
  place.querySelector(".scroll").hidden = viewers.length === 0;
  place.querySelector(".none").hidden = viewers.length > 0;
  const rows = viewers.map((viewer) => {
    const row = element("tr");
    const who = element("td", "", viewer.name || viewer.address);
    // Two viewers on one host have the same name, and often the same address.
    const ssrc = viewer.ssrc.toString(16).padStart(8, "0");
    who.append(element("small", "", viewer.name ? `${viewer.address}, ${ssrc}` : ssrc));
    const delay = viewer.frames && viewer.frames.delay_ms;
    row.append(
      who,
      element("td", "n", percent(viewer.fraction_lost * 100)),
      element("td", "n", fixed(delay, 0, "ms")),
      element("td", "n", fixed(viewer.jitter_ms, 1, "ms")),
      element("td", "n", fixed(viewer.round_trip_ms, 1, "ms")),
      element("td", "n", `${Math.round(viewer.last_seen_s)} s ago`),
    );
    return row;
  });
  place.querySelector("tbody").replaceChildren(...rows);
}

async function copy(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers allow the clipboard only to pages by HTTPS or from the same host.
    const area = element("textarea", "", text);
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  button.textContent = done ? "copied" : "select it by hand";
  setTimeout(() => { button.textContent = "copy"; }, 2000);
}

// The stream's address for every player, with the host name by which the page was reached.
function rtsp(stream, port) {
  return port ? `rtsp://${location.hostname}:${port}/${encodeURIComponent(stream.name)}` : null;
}

function commands(card, stream, rtsp) {
  const all = rtsp ? [{ player: "any player", command: rtsp }, ...stream.commands] : stream.commands;
  const key = JSON.stringify(all);
  if (card.commands === key) return;
  card.commands = key;
  const boxes = all.map(({ player, command }) => {
    const box = element("div", "command");
    const head = element("div");
    const button = element("button", "", "copy");
    button.type = "button";
    button.setAttribute("aria-label", `copy the command for ${player}`);
    button.addEventListener("click", () => copy(command, button));
    head.append(element("strong", "", player), button);
    box.append(head, element("pre", "", command));
    return box;
  });
  card.root.querySelector(".commands > div").replaceChildren(...boxes);
  card.root.querySelector(".commands").hidden = boxes.length === 0;
}

function counters(place, stream) {
  const pairs = [];
  const add = (prefix, values) => {
    for (const [name, value] of Object.entries(values)) {
      if (Number.isInteger(value)) pairs.push([prefix + name.replaceAll("_", " "), number(value)]);
    }
  };
  const { fps, mbit_per_s, loss_percent, repair_overhead_percent, ...totals } = stream;
  add("", totals);
  if (stream.gate) add("gate: ", stream.gate);
  list(place, pairs);
}

class Card {
  constructor(stream) {
    this.root = byId("stream").content.cloneNode(true).firstElementChild;
    this.query = `?stream=${encodeURIComponent(stream.name)}`;
    this.picture = this.root.querySelector(".picture");
    this.picture.alt = `live picture of ${stream.name}`;
    this.picture.addEventListener("load", () => this.seen(true));
    this.picture.addEventListener("error", () => this.failed());
    this.root.querySelector(".snapshot").href = `snapshot.jpg${this.query}`;
    this.root.querySelector(".live").href = `stream.mjpg${this.query}`;
    this.root.querySelector(".sdp").href = `stream.sdp${this.query}`;
    say(this.root.querySelector("h2"), stream.name);
    byId("streams").append(this.root);
  }

  seen(isSeen) {
    this.root.querySelector(".blank").hidden = isSeen;
  }

  // The stream's state is unknown now.
  lost() {
    this.seen(false);
    const place = this.root.querySelector(".badge");
    say(place, "unknown");
    place.className = "badge";
  }

  failed() {
    this.seen(false);
    this.mode = "";
  }

  // "moving": one endless response; "single": one picture for each request; "": none, as when the page is hidden.
  watch(mode) {
    if (mode === this.mode && mode !== "single") return;
    this.mode = mode;
    if (mode === "") this.picture.removeAttribute("src");
    else this.picture.src = `${mode === "moving" ? "stream.mjpg" : "snapshot.jpg"}${this.query}&t=${Date.now()}`;
  }

  show(stream, status) {
    const root = this.root;
    const [text, kind] = badge(stream);
    const place = root.querySelector(".badge");
    say(place, text);
    place.className = `badge ${kind}`;
    const problem = root.querySelector(".problem");
    const isBad = stream.problem != null && kind === "bad";
    problem.hidden = !isBad;
    say(problem, isBad ? stream.problem : "");
    if (stream.format) root.querySelector("figure").style.aspectRatio = `${stream.format.width} / ${stream.format.height}`;
    root.querySelector(".sdp").hidden = !stream.has_sdp;
    list(root.querySelector(".figures"), figures(stream, status.uptime_s));
    charts(root.querySelector(".charts"), stream);
    audience(root.querySelector(".audience"), stream);
    commands(this, stream, rtsp(stream, status.rtsp_port));
    counters(root.querySelector(".counters dl"), stream);
  }
}

function show(status) {
  say(byId("role"), status.role);
  say(byId("version"), `lancam ${status.version}`);
  const { watchers, connections } = status.visitors;
  const open = `${connections} connection${connections === 1 ? "" : "s"}`;
  say(byId("visitors"), `${watchers} watching this page's pictures, ${open}`);
  const names = status.streams.map((stream) => stream.name);
  document.title = `${names.join(", ")} – lancam`;
  for (const [name, card] of cards) {
    if (!names.includes(name)) { card.watch(""); card.root.remove(); cards.delete(name); }
  }
  byId("streams").classList.toggle("several", names.length > 1);
  const mode = document.hidden ? "" : names.length <= MOST_MOVING ? "moving" : "single";
  for (const stream of status.streams) {
    if (!cards.has(stream.name)) cards.set(stream.name, new Card(stream));
    const card = cards.get(stream.name);
    card.root.classList.toggle("wide", names.length === 1);
    card.show(stream, status);
    card.watch(mode);
  }
}

function connection(isThere, text) {
  const place = byId("connection");
  say(place, text);
  place.classList.toggle("lost", !isThere);
  byId("streams").classList.toggle("lost", !isThere);
}

let isLost = false;
let uptime = 0;
let heard = null;

async function update() {
  try {
    const response = await fetch("status.json", { signal: AbortSignal.timeout(5000) });
    if (response.status === 401) return location.reload();
    if (!response.ok) throw new Error(`answered with ${response.status}`);
    const status = await response.json();
    // After a break, or if another process answers, the picture's response is dead.
    if (isLost || status.uptime_s < uptime) for (const card of cards.values()) card.watch("");
    isLost = false;
    heard = new Date();
    uptime = status.uptime_s;
    show(status);
    connection(true, "connected");
  } catch (error) {
    isLost = true;
    for (const card of cards.values()) card.lost();
    const since = heard ? ` since ${heard.toLocaleTimeString()}` : "";
    connection(false, `no connection to lancam${since}, trying again …`);
    console.debug(error);
  }
}

async function run() {
  for (;;) {
    await update();
    await new Promise((wake) => setTimeout(wake, document.hidden ? 5 * PERIOD : PERIOD));
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) for (const card of cards.values()) card.watch("");
  else update();
});
run();

"use strict";
// The server knows instants in UTC and nothing else; in which zone they are shown is the visitor's own affair.

const by = (id) => document.getElementById(id);
const page = by("booking");
const { agent, name: who, minutes } = page.dataset;
const [now, last] = [new Date(page.dataset.now), new Date(page.dataset.last)];
const DAY = 86400000;
const STALE = 60000; // milliseconds after which the list is asked for again when somebody comes back to it
const LOOK_AGAIN = 15; // seconds, while the calendar is not being read

const tongue = navigator.language;
const words = /^en\b/i.test(tongue) ? tongue : "en-GB"; // the page is in English; hours and weeks are the visitor's own
const { hourCycle } = new Intl.DateTimeFormat(tongue, { hour: "numeric" }).resolvedOptions();
const locale = new Intl.Locale(tongue);
const firstDay = ((locale.getWeekInfo?.() ?? locale.weekInfo)?.firstDay ?? 1) % 7;
const RENAMED = { "Asia/Calcutta": "Asia/Kolkata", "Asia/Katmandu": "Asia/Kathmandu", "Asia/Rangoon": "Asia/Yangon",
  "Asia/Saigon": "Asia/Ho_Chi_Minh", "Europe/Kiev": "Europe/Kyiv", "America/Godthab": "America/Nuuk" };

let zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
let month, day, chosen, hold, ticking; // hold: {key, secret?, ends?, used?}
let busy = false;
let loadedAt = Date.now();
let have = { from: new Date(page.dataset.from), to: new Date(page.dataset.to) };
const free = new Map(); // start → opening, for the instants between have.from and have.to
const gone = new Set(); // what was refused since: the list may not know it yet

// Showing instants

const formatters = new Map();
function format(options, moment, timeZone = zone, language = words) {
  const key = JSON.stringify([options, timeZone, language]);
  if (!formatters.has(key)) formatters.set(key, new Intl.DateTimeFormat(language, { ...options, timeZone }));
  return formatters.get(key).format(new Date(moment));
}
const hour = hourCycle.startsWith("h2") ? "2-digit" : "numeric";
const clock = (moment) => format({ hour, minute: "2-digit", hourCycle }, moment);
const date = (moment) => format({ weekday: "short", day: "numeric", month: "short" }, moment);
const offset = (moment) => `UTC${format({ timeZoneName: "shortOffset" }, moment, zone, "en-US").split("GMT")[1] || "+0"}`;
const label = (moment) => `${date(moment)}, ${clock(moment)} (${offset(moment)})`;
const dayOf = (moment) => format({ year: "numeric", month: "2-digit", day: "2-digit" }, moment, zone, "en-CA");
const longDay = (key) => format({ weekday: "long", day: "numeric", month: "long" }, `${key}T12:00Z`, "UTC");
const monthAfter = (key, count) => new Date(Date.UTC(key.slice(0, 4), key.slice(5, 7) - 1 + count, 1)).toISOString().slice(0, 7);
const spoken = (name) => (RENAMED[name] ?? name).replaceAll("_", " ");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Asking the server. Whatever is asked may be asked again: {state: "unreachable"} leaves open what became of it.

const sleep = (seconds) => new Promise((done) => { setTimeout(done, seconds * 1000); });
const token = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (one) => one.toString(16).padStart(2, "0")).join("");

async function ask(method, path, body) {
  const request = { method, cache: "no-store" };
  if (body) Object.assign(request, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  for (const pause of [0.5, 1.5, 0]) {
    try {
      const response = await fetch(`/book/${agent}${path}`, request);
      if (response.status < 500) return { state: "wrong", ...await response.json() };
    } catch { /* no network: as if the server did not answer */ }
    await sleep(pause);
  }
  return { state: "unreachable" };
}

async function decided(path) {
  for (let pause = 0.5; ; pause = Math.min(pause * 1.6, 15)) {
    await sleep(pause);
    const answer = await ask("GET", path);
    if (answer.state !== "checking" && answer.state !== "unreachable") return answer;
  }
}

async function load(from, to, { afresh = false } = {}) {
  const answer = await ask("GET", `/openings?${new URLSearchParams({ from: from.toISOString(), to: to.toISOString() })}`);
  if (!answer.openings) return false;
  if (afresh) free.clear();
  for (const opening of answer.openings) free.set(opening.start, opening);
  [by("checking").hidden, by("pick").hidden] = [!answer.checking, answer.checking];
  return !answer.checking;
}

function bounds() { // of the month shown, with a day to spare on either side, whatever the zone
  const from = new Date(Math.max(Date.parse(`${month}-01`) - DAY, now));
  const to = new Date(Math.min(Date.parse(`${monthAfter(month, 1)}-01`) + DAY, last));
  return { from, to: new Date(Math.max(to, from.getTime() + DAY)) };
}

async function reload() {
  const wanted = bounds();
  const current = await load(wanted.from, wanted.to, { afresh: true });
  if (current) [have, loadedAt] = [wanted, Date.now()];
  draw();
  return current;
}

async function turn(count) {
  month = monthAfter(month, count);
  const wanted = bounds();
  if (wanted.from < have.from && await load(wanted.from, have.from)) have.from = wanted.from;
  if (wanted.to > have.to && await load(have.to, wanted.to)) have.to = wanted.to;
  day = undefined;
  draw();
}

// Choosing

function draw() {
  const days = new Map();
  for (const start of [...free.keys()].filter((one) => !gone.has(one)).sort()) {
    const key = dayOf(start);
    if (!days.has(key)) days.set(key, []);
    days.get(key).push(free.get(start));
  }
  if (!days.has(day) || !day.startsWith(month)) day = [...days.keys()].find((key) => key.startsWith(month));
  drawMonth(days);
  drawDay(days.get(day) ?? []);
  by("zone-now").textContent = `It is ${clock(Date.now())} there now (${offset(Date.now())}).`;
}

function drawMonth(days) {
  by("month").textContent = format({ month: "long", year: "numeric" }, `${month}-15`, "UTC");
  by("back").disabled = month <= dayOf(now).slice(0, 7);
  by("on").disabled = month >= dayOf(last).slice(0, 7);
  const weekdays = Array.from({ length: 7 }, (_, column) => {
    const textContent = format({ weekday: "short" }, Date.UTC(2023, 0, 1 + firstDay + column), "UTC"); // began on a Sunday
    return element("span", { className: "weekday", textContent, ariaHidden: "true" });
  });
  const before = (new Date(`${month}-01`).getUTCDay() - firstDay + 7) % 7;
  const length = (Date.parse(`${monthAfter(month, 1)}-01`) - Date.parse(`${month}-01`)) / DAY;
  const cells = Array.from({ length: before + length }, (_, place) => cell(place - before + 1, days));
  by("days").replaceChildren(...weekdays, ...cells);
}

function cell(number, days) {
  const key = `${month}-${String(number).padStart(2, "0")}`;
  const count = days.get(key)?.length;
  if (!count) return element("span", { className: "none", textContent: number > 0 ? number : "", ariaHidden: "true" });
  const button = element("button", { type: "button", textContent: number, ariaPressed: String(key === day) });
  button.ariaLabel = `${longDay(key)}, ${count} ${count === 1 ? "time" : "times"}`;
  button.dataset.day = key;
  return button;
}

function drawDay(openings) {
  const offsets = [...new Set(openings.map((opening) => offset(opening.start)))];
  by("day").textContent = day ? longDay(day) : "Nothing is free in this month.";
  by("day-zone").textContent = day ? `${spoken(zone)} (${offsets.join(", then ")})` : "";
  by("times").replaceChildren(...openings.map((opening) => timeItem(opening, { changes: offsets.length > 1 })));
}

function timeItem(opening, { changes = false, full = false }) {
  const said = label(opening.start);
  const button = element("button", { type: "button", className: "time", title: said, ariaLabel: said });
  button.append(element("time", { dateTime: opening.start, textContent: full ? said : clock(opening.start) }));
  if (changes) button.append(" ", element("small", { textContent: `(${offset(opening.start)})` }));
  button.addEventListener("click", () => choose(opening, button));
  return element("li", {}, button);
}

let speak = () => {}; // says the last thing again, in another zone

function say(text, { bad = false, alternatives = [] } = {}) {
  speak = () => say(text, { bad, alternatives });
  by("notice").className = text ? `notice${bad ? " bad" : ""}` : "silent";
  by("said").textContent = text instanceof Function ? text() : text;
  by("alternatives").hidden = !alternatives.length;
  by("alternatives").replaceChildren(...alternatives.map((opening) => timeItem(opening, { full: true })));
}

function stage(name, focus) {
  for (const one of ["choose", "details", "done"]) by(one).hidden = one !== name;
  focus.focus({ preventScroll: true });
  by("stage").scrollIntoView({ block: "nearest" });
}

// Keeping a time, booking it, and telling what became of it

async function keep(version) {
  hold = { key: token() };
  const { start, end } = chosen;
  return settle(await ask("POST", "/holds", { start, end, version, key: hold.key }));
}

function settle(answer) {
  hold.secret = answer.hold;
  hold.ends = { held: Date.now() + answer.seconds * 1000, expired: 0 }[answer.state];
  return answer;
}

async function choose(opening, button) {
  if (busy) return undefined;
  [busy, button.ariaBusy] = [true, "true"];
  release();
  chosen = opening;
  const answer = await keep(opening.version);
  [busy, button.ariaBusy] = [false, "false"];
  if (answer.state !== "held" && answer.state !== "checking") return refuse(answer);
  by("timer").textContent = "";
  drawChosen();
  stage("details", by("details-title"));
  if (answer.state === "held") return kept();
  say("This time is being checked. You can fill in your details meanwhile.");
  const asked = hold;
  const later = await decided(`/holds/${asked.secret}`);
  if (asked !== hold || busy) return undefined; // another time was chosen, or Book pressed, which finds out for itself
  settle(later);
  return later.state === "held" ? kept() : refuse(later);
}

function drawChosen() {
  if (!chosen) return;
  const where = () => element("small", { textContent: `${minutes} minutes · ${spoken(zone)}` });
  by("chosen").replaceChildren(element("time", { dateTime: chosen.start, textContent: label(chosen.start) }), where());
  by("booked").replaceChildren(`${date(chosen.start)}, ${clock(chosen.start)} – ${clock(chosen.end)} (${offset(chosen.start)})`, where());
}

function kept() {
  const seconds = Math.round((hold.ends - Date.now()) / 1000);
  const long = seconds < 100 ? `${seconds} seconds` : `${Math.round(seconds / 60)} minutes`;
  say(() => `${label(chosen.start)} is kept for you for ${long}.`);
  clearInterval(ticking);
  ticking = setInterval(tick, 250);
  tick();
}

function tick() {
  const left = Math.ceil(((hold?.ends ?? 0) - Date.now()) / 1000);
  by("timer").textContent = left > 0 ? `Kept for you: ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "Not kept for you any more";
  if (left > 0 || busy) return;
  clearInterval(ticking);
  say("This time is no longer kept for you. What you typed is still here: press Book, and we try to get it.", { bad: true });
}

function release() {
  clearInterval(ticking);
  if (hold?.secret && !hold.used) fetch(`/book/${agent}/holds/${hold.secret}`, { method: "DELETE", keepalive: true }).catch(() => {});
  hold = undefined;
}

async function book(event) {
  event.preventDefault();
  if (busy) return undefined;
  setBusy(true);
  const answer = await attempt();
  setBusy(false);
  if (answer.state === "booked") return done();
  if (answer.state !== "unreachable") return refuse(answer);
  return say("The server cannot be reached, so nobody can say yet whether this is booked. Press Book again: it is not booked twice.", { bad: true });
}

async function attempt() { // a time that is not kept any more is asked for anew first
  if (!(hold?.ends > Date.now()) && !hold?.used) {
    say("Checking whether this time is still free.");
    let answer = hold?.secret && hold.ends === undefined ? { state: "checking", hold: hold.secret } : await keep(null);
    if (answer.state === "checking") answer = settle(await decided(`/holds/${hold.secret}`));
    if (answer.state !== "held") return answer;
  }
  hold.used = true; // from now on it is the same wish, however often it is sent
  const { start, end } = chosen;
  const answer = await ask("POST", "/bookings", { hold: hold.secret, start, end, name: by("name").value, email: by("email").value });
  if (answer.state !== "checking") return answer;
  say("Your booking is being checked. Nothing is promised yet; it is told here as soon as it is decided.");
  return decided(`/bookings/${hold.secret}`);
}

function setBusy(is) {
  busy = is;
  by("book").ariaDisabled = String(is);
  by("book").textContent = is ? "Booking …" : "Book";
  for (const id of ["name", "email"]) by(id).readOnly = is;
}

function done() {
  clearInterval(ticking);
  say("");
  by("save").href = `/book/${agent}/bookings/${hold.secret}/meeting.ics`;
  hold = undefined;
  stage("done", by("done-title"));
}

function refuse(answer) {
  clearInterval(ticking);
  const texts = {
    wrong: answer.detail ?? "That did not work. Please try again.",
    expired: "The time was kept for you, but that has run out. Press Book to try again.",
    unreachable: "The server cannot be reached. Please try again.",
    master_unreadable: `${who}’s calendar could not be checked just now, so nothing was booked. Please try again in a few minutes.`,
    stale: "That time changed while you were looking at it, and nothing was booked. Please choose again.",
  };
  const alternatives = answer.alternatives ?? [];
  const [text, wanted] = [texts[answer.reason ?? answer.state], chosen.start];
  const faster = ["slot_taken", "master_busy", "not_offered"].includes(answer.reason);
  const said = () => text ?? (faster ? `Somebody else was faster: ${label(wanted)} is no longer free.` : `${label(wanted)} could not be booked.`);
  say(() => said() + (alternatives.length ? " These times near it are still free:" : ""), { bad: true, alternatives });
  if (answer.state !== "refused") return by("notice").focus();
  if (answer.reason === "master_busy") gone.add(wanted);
  if (answer.reason !== "stale" && free.delete(wanted)) draw(); // the list that comes will say so too
  hold = undefined;
  stage("choose", by("notice"));
  return reload();
}

// Beginning

function listZones() {
  const regions = new Map();
  for (const value of new Set([...Intl.supportedValuesOf?.("timeZone") ?? [], zone, "UTC"])) {
    const [region, ...rest] = spoken(value).split("/");
    const group = rest.length ? region : "Other";
    const option = element("option", { value, textContent: rest.join("/") || region, selected: value === zone });
    regions.set(group, [...regions.get(group) ?? [], option].sort((one, other) => one.text.localeCompare(other.text)));
  }
  by("zone").replaceChildren(...[...regions].map(([region, options]) => element("optgroup", { label: region }, ...options)));
}

function pick(event) {
  const key = event.target.closest("button")?.dataset.day;
  if (!key) return;
  day = key;
  draw();
  by("days").querySelector(`[data-day="${key}"]`).focus();
}

async function start() {
  for (const time of by("plain").querySelectorAll("a.time > time")) {
    const { end, version } = time.parentElement.dataset;
    free.set(time.dateTime, { start: time.dateTime, end, version: Number(version) });
  }
  listZones();
  month = dayOf(free.size ? [...free.keys()][0] : have.from).slice(0, 7);
  by("utc").remove();
  by("plain").remove();
  by("zones").hidden = false;
  by("pick").hidden = !by("checking").hidden;
  draw();
  while (!by("checking").hidden && !await reload()) await sleep(LOOK_AGAIN);
}

by("zone").addEventListener("change", () => { zone = by("zone").value; draw(); drawChosen(); speak(); });
by("back").addEventListener("click", () => turn(-1));
by("on").addEventListener("click", () => turn(1));
by("days").addEventListener("click", pick);
by("form").addEventListener("submit", book);
by("other").addEventListener("click", () => { if (!busy) { release(); say(""); stage("choose", by("choose-title")); reload(); } });
addEventListener("pagehide", release);
addEventListener("pageshow", (event) => { if (event.persisted && !by("details").hidden) tick(); });
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && !by("choose").hidden && !busy && Date.now() - loadedAt > STALE) reload();
});
start();

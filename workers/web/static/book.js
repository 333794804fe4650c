"use strict";
// The server knows instants in UTC and nothing else; which zone they are shown in is decided here, by the visitor.

const by = (id) => document.getElementById(id);
const page = by("booking");
const { agent, name: who, minutes } = page.dataset;
const base = `/book/${agent}`;
const DAY = 86400000;
const HINT_SECONDS = 60;

const tongue = navigator.language;
const words = /^en\b/i.test(tongue) ? tongue : "en-GB"; // the page is in English; hours and weeks are the visitor's own
const { hourCycle } = new Intl.DateTimeFormat(tongue, { hour: "numeric" }).resolvedOptions();
const clockOptions = { hour: hourCycle.startsWith("h2") ? "2-digit" : "numeric", minute: "2-digit", hourCycle };
const firstDay = (() => {
  const local = new Intl.Locale(tongue);
  return ((local.getWeekInfo?.() ?? local.weekInfo)?.firstDay ?? 1) % 7;
})();

let zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
let month, day, chosen, hold, ticking;
let busy = false;
let loadedAt = Date.now();
const free = new Map(); // start → opening, for the instants between have.from and have.to
let have = { from: new Date(page.dataset.from), to: new Date(page.dataset.to) };
const last = new Date(page.dataset.last);

// Showing instants

const formatters = new Map();
function format(options, moment, timeZone = zone, language = words) {
  const key = JSON.stringify([options, timeZone, language]);
  if (!formatters.has(key)) formatters.set(key, new Intl.DateTimeFormat(language, { ...options, timeZone }));
  return formatters.get(key).format(moment);
}
const clock = (moment) => format(clockOptions, moment);
const offset = (moment) => format({ timeZoneName: "shortOffset" }, moment, zone, "en-US").replace(/^.*GMT/, "UTC");
const date = (moment) => format({ weekday: "short", day: "numeric", month: "short" }, moment);
const label = (moment) => `${date(moment)}, ${clock(moment)} (${offset(moment)})`;
const dayOf = (moment) => format({ year: "numeric", month: "2-digit", day: "2-digit" }, moment, zone, "en-CA");
const monthOf = (moment) => dayOf(moment).slice(0, 7);
const noon = (text) => new Date(`${text}T12:00:00Z`); // a calendar date, to be shown in UTC
const RENAMED = { "Asia/Calcutta": "Asia/Kolkata", "Asia/Katmandu": "Asia/Kathmandu", "Asia/Rangoon": "Asia/Yangon",
  "Asia/Saigon": "Asia/Ho_Chi_Minh", "Europe/Kiev": "Europe/Kyiv", "America/Godthab": "America/Nuuk" };
const spoken = (zoneName) => (RENAMED[zoneName] ?? zoneName).replaceAll("_", " ");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Asking the server

const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const token = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// The answer, or {state: "unreachable"}: everything that is asked may be asked again.
async function ask(method, path, body) {
  const request = { method, cache: "no-store", headers: body ? { "Content-Type": "application/json" } : {} };
  if (body) request.body = JSON.stringify(body);
  for (const pause of [0.5, 1.5, 0]) {
    try {
      const response = await fetch(base + path, request);
      if (response.status < 500) return { state: "wrong", ...(response.status === 204 ? {} : await response.json()), status: response.status };
    } catch { /* no network: as if the server did not answer */ }
    await sleep(pause);
  }
  return { state: "unreachable" };
}

async function decided(path, answer) {
  for (let pause = 0.5; answer.state === "checking" || answer.state === "unreachable"; pause = Math.min(pause * 1.6, 15)) {
    await sleep(pause);
    answer = await ask("GET", path);
  }
  return answer;
}

async function load(from, to) {
  const span = new URLSearchParams({ from: from.toISOString(), to: to.toISOString() });
  const answer = await ask("GET", `/openings?${span}`);
  if (!answer.openings) return false;
  for (const opening of answer.openings) free.set(opening.start, opening);
  by("checking")?.toggleAttribute("hidden", !answer.checking);
  return !answer.checking;
}

const bounds = () => {
  const [year, number] = month.split("-").map(Number); // with a day to spare on either side, whatever the zone
  const from = new Date(Math.max(Date.UTC(year, number - 1, 1) - DAY, new Date(page.dataset.now)));
  return { from, to: new Date(Math.max(Math.min(Date.UTC(year, number, 1) + DAY, last), from.getTime() + DAY)) };
};

async function reload() {
  const wanted = bounds();
  free.clear();
  const done = await load(wanted.from, wanted.to);
  [have, loadedAt] = [wanted, Date.now()];
  draw();
  return done;
}

async function turn(by_) {
  const [year, number] = month.split("-").map(Number);
  month = new Date(Date.UTC(year, number - 1 + by_, 1)).toISOString().slice(0, 7);
  day = undefined;
  const wanted = bounds();
  if (wanted.from < have.from && (await load(wanted.from, have.from))) have.from = wanted.from;
  if (wanted.to > have.to && (await load(have.to, wanted.to))) have.to = wanted.to;
  draw();
}

// Choosing

function draw() {
  const days = Map.groupBy ? Map.groupBy(inOrder(), (opening) => dayOf(new Date(opening.start))) : grouped();
  if (!days.has(day)) day = [...days.keys()].find((one) => one.startsWith(month));
  drawMonth(days);
  drawDay(days.get(day) ?? []);
  by("zone-now").textContent = `It is ${clock(new Date())} there now (${offset(new Date())}).`;
}

const inOrder = () => [...free.values()].sort((one, other) => (one.start < other.start ? -1 : 1));
function grouped() {
  const days = new Map();
  for (const opening of inOrder()) {
    const key = dayOf(new Date(opening.start));
    days.set(key, [...(days.get(key) ?? []), opening]);
  }
  return days;
}

function drawMonth(days) {
  const [year, number] = month.split("-").map(Number);
  by("month").textContent = format({ month: "long", year: "numeric" }, noon(`${month}-15`), "UTC");
  by("back").disabled = month <= monthOf(new Date(page.dataset.now));
  by("on").disabled = month >= monthOf(last);
  const cells = [];
  for (let column = 0; column < 7; column += 1) {
    const text = format({ weekday: "short" }, new Date(Date.UTC(2023, 0, 1 + firstDay + column)), "UTC");
    cells.push(element("span", { className: "weekday", textContent: text, ariaHidden: "true" }));
  }
  const before = (new Date(Date.UTC(year, number - 1, 1)).getUTCDay() - firstDay + 7) % 7;
  for (let blank = 0; blank < before; blank += 1) cells.push(element("span"));
  const length = new Date(Date.UTC(year, number, 0)).getUTCDate();
  for (let one = 1; one <= length; one += 1) cells.push(cell(`${month}-${String(one).padStart(2, "0")}`, days));
  by("days").replaceChildren(...cells);
}

function cell(key, days) {
  const number = String(Number(key.slice(8)));
  const count = days.get(key)?.length;
  if (!count) return element("span", { className: "none", textContent: number, ariaHidden: "true" });
  const said = format({ weekday: "long", day: "numeric", month: "long" }, noon(key), "UTC");
  const button = element("button", { type: "button", textContent: number, ariaPressed: String(key === day) });
  button.dataset.day = key;
  button.ariaLabel = `${said}, ${count} ${count === 1 ? "time" : "times"}`;
  return button;
}

function drawDay(openings) {
  const offsets = [...new Set(openings.map((opening) => offset(new Date(opening.start))))];
  by("day").textContent = day ? format({ weekday: "long", day: "numeric", month: "long" }, noon(day), "UTC") : "Nothing is free in this month.";
  by("day-zone").textContent = day ? `${spoken(zone)} (${offsets.join(", then ")})` : "";
  by("times").replaceChildren(...openings.map((opening) => element("li", {}, timeButton(opening, offsets.length > 1))));
}

function timeButton(opening, changes, full = false) {
  const moment = new Date(opening.start);
  const button = element("button", { type: "button", className: "time", title: label(moment) });
  button.ariaLabel = label(moment);
  button.dataset.start = opening.start;
  button.append(element("time", { dateTime: opening.start, textContent: full ? label(moment) : clock(moment) }));
  if (changes) button.append(" ", element("small", { textContent: `(${offset(moment)})` }));
  button.addEventListener("click", () => choose(opening, button));
  return button;
}

function say(text, { bad = false, alternatives = [] } = {}) {
  by("notice").hidden = !text;
  by("notice").classList.toggle("bad", bad);
  by("said").textContent = text;
  by("alternatives").hidden = !alternatives.length;
  by("alternatives").replaceChildren(...alternatives.map((one) => element("li", {}, timeButton(one, false, true))));
}

function stage(name, focus) {
  for (const one of ["choose", "details", "done"]) by(one).hidden = one !== name;
  focus.focus({ preventScroll: true });
  focus.scrollIntoView({ block: "nearest" });
}

// Keeping, booking, and telling what became of it

async function keep(version) {
  hold = { key: token(), opening: chosen };
  const { start, end } = chosen;
  const answer = await ask("POST", "/holds", { start, end, version, key: hold.key });
  settle(answer);
  return answer;
}

function settle(answer) {
  hold.secret = answer.hold;
  hold.ends = answer.state === "held" ? Date.now() + answer.seconds * 1000 : undefined;
}

async function choose(opening, button) {
  if (busy) return;
  busy = true;
  button.ariaBusy = "true";
  release();
  chosen = opening;
  const answer = await keep(opening.version);
  button.ariaBusy = "false";
  busy = false;
  if (answer.state !== "held" && answer.state !== "checking") return refuse(answer);
  by("chosen").replaceChildren(element("time", { dateTime: chosen.start, textContent: label(new Date(chosen.start)) }), zoneLine());
  stage("details", by("details-title"));
  if (answer.state === "held") return kept();
  say("This time is being checked. You can fill in your details meanwhile.");
  const asked = hold;
  const later = await decided(`/holds/${asked.secret}`, answer);
  if (asked !== hold || busy) return; // given up, or Book was pressed meanwhile and tells the truth itself
  settle(later);
  if (later.state === "held") kept(); else if (later.state === "expired") tick(); else refuse(later);
}

const zoneLine = () => element("small", { textContent: `${minutes} minutes, ${spoken(zone)}` });

function kept() {
  say(`${label(new Date(chosen.start))} is kept for you for ${spell(hold.ends - Date.now())}.`);
  clearInterval(ticking);
  ticking = setInterval(tick, 250);
  tick();
}

const spell = (left) => {
  const seconds = Math.max(0, Math.round(left / 1000));
  const parts = [[Math.floor(seconds / 60), "minute"], [seconds % 60, "second"]].filter(([count]) => count);
  return parts.map(([count, unit]) => `${count} ${unit}${count === 1 ? "" : "s"}`).join(" ") || "0 seconds";
};
const isKept = () => hold?.ends > Date.now();

function tick() {
  const left = Math.ceil(((hold?.ends ?? 0) - Date.now()) / 1000);
  if (left === HINT_SECONDS && !hold.hinted) { hold.hinted = true; say("This time is kept for you for one more minute."); }
  by("timer").textContent = left > 0 ? `Kept for you for ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "Not kept for you any more";
  if (left > 0) return;
  clearInterval(ticking);
  if (!busy) say("This time is no longer kept for you. What you typed is still here: press Book, and we try to get it.", { bad: true });
}

function release() {
  clearInterval(ticking);
  if (hold?.secret && !hold.used) fetch(`${base}/holds/${hold.secret}`, { method: "DELETE", keepalive: true }).catch(() => {});
  hold = undefined;
}

async function book(event) {
  event.preventDefault();
  if (busy) return;
  setBusy(true);
  const answer = await attempt();
  setBusy(false);
  if (answer.state === "booked") return done();
  if (answer.state !== "unreachable") return refuse(answer);
  say("The server cannot be reached, so we cannot say yet whether this is booked. Press Book again: it will not be booked twice.", { bad: true });
}

// A time that is not kept any more is asked for anew first: then the visitor learns at once if it is gone.
async function attempt() {
  if (!isKept() && !hold?.used) {
    say("Checking whether this time is still free.");
    const again = hold?.secret && !hold.ends ? { state: "checking", hold: hold.secret } : await keep(null);
    const answer = again.state === "checking" ? await decided(`/holds/${hold.secret}`, again) : again;
    settle(answer);
    if (answer.state !== "held") return answer;
  }
  hold.used = true; // from now on the same wish is sent, however often
  const { start, end } = chosen;
  const answer = await ask("POST", "/bookings", { hold: hold.secret, start, end, name: by("name").value, email: by("email").value });
  if (answer.state !== "checking") return answer;
  say("Your booking is being checked. Nothing is promised yet; this page tells you as soon as it is decided.");
  return decided(`/bookings/${hold.secret}`, answer);
}

function setBusy(now) {
  busy = now;
  by("book").ariaDisabled = String(now);
  by("book").textContent = now ? "Booking …" : "Book";
  by("name").readOnly = by("email").readOnly = now;
}

function done() {
  clearInterval(ticking);
  say("");
  const [start, end] = [new Date(chosen.start), new Date(chosen.end)];
  by("booked").replaceChildren(`${date(start)}, ${clock(start)} – ${clock(end)} (${offset(start)})`, zoneLine());
  by("told").textContent = `It is in ${who}’s calendar.`;
  const stamp = (moment) => moment.toISOString().replace(/[-:]|\.\d+/g, "");
  const summary = `Meeting with ${who}`.replace(/[\\;,]/g, "\\$&");
  const lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//watertight//booking//EN", "BEGIN:VEVENT", `UID:${hold.key}@watertight`,
    `DTSTAMP:${stamp(new Date())}`, `DTSTART:${stamp(start)}`, `DTEND:${stamp(end)}`, `SUMMARY:${summary}`, "END:VEVENT", "END:VCALENDAR", ""];
  by("keep").href = `data:text/calendar;charset=utf-8,${encodeURIComponent(lines.join("\r\n"))}`;
  hold = undefined;
  stage("done", by("done-title"));
}

function refuse(answer) {
  clearInterval(ticking);
  const time = label(new Date(chosen.start));
  const texts = {
    master_unreadable: `${who}’s calendar could not be checked just now, so nothing was booked. Please try again in a few minutes.`,
    stale: `${time} changed while you were looking at it, and nothing was booked. Please choose again.`,
  };
  if (answer.state === "wrong") { say(answer.detail ?? "That did not work. Please try again.", { bad: true }); return by("notice").focus(); }
  if (answer.state === "unreachable") { say("The server cannot be reached. Please try again.", { bad: true }); return by("notice").focus(); }
  const alternatives = answer.alternatives ?? [];
  const still = alternatives.length ? " These times near it are still free:" : "";
  say((texts[answer.reason] ?? `Somebody else was faster: ${time} is no longer free.`) + still, { bad: true, alternatives });
  hold = undefined;
  stage("choose", by("notice"));
  return reload();
}

// Beginning

function zones() {
  const known = Intl.supportedValuesOf?.("timeZone") ?? [];
  const regions = new Map();
  for (const one of new Set([...known, zone, "UTC"])) {
    const [region, ...rest] = spoken(one).split("/");
    const group = rest.length ? region : "Other";
    const option = element("option", { value: one, textContent: rest.join("/") || region, selected: one === zone });
    regions.set(group, [...(regions.get(group) ?? []), option]);
  }
  for (const options of regions.values()) options.sort((one, other) => one.textContent.localeCompare(other.textContent));
  by("zone").replaceChildren(...[...regions].map(([region, options]) => element("optgroup", { label: region }, ...options)));
}

function arrow(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 }[event.key];
  const at = event.target.dataset.day;
  if (!step || !at) return;
  const buttons = [...by("days").querySelectorAll("button")];
  const wanted = new Date(noon(at).getTime() + step * DAY).toISOString().slice(0, 10);
  const next = step > 0 ? buttons.find((one) => one.dataset.day >= wanted) : buttons.findLast((one) => one.dataset.day <= wanted);
  event.preventDefault();
  next?.focus();
}

function start() {
  for (const link of by("plain").querySelectorAll("a.time")) {
    const { start, end, version } = link.dataset;
    free.set(start, { start, end, version: Number(version) });
  }
  zones();
  const first = inOrder()[0];
  month = monthOf(first ? new Date(first.start) : have.from);
  by("utc").remove();
  by("plain").remove();
  by("zones").hidden = false;
  by("pick").hidden = Boolean(page.dataset.checking);
  draw();
}

by("zone").addEventListener("change", () => { zone = by("zone").value; month = day ? month : monthOf(have.from); draw(); });
by("back").addEventListener("click", () => turn(-1));
by("on").addEventListener("click", () => turn(1));
by("days").addEventListener("keydown", arrow);
by("days").addEventListener("click", (event) => {
  const target = event.target.closest("button");
  if (!target) return;
  day = target.dataset.day;
  draw();
  by("days").querySelector(`[data-day="${day}"]`).focus();
});
by("form").addEventListener("submit", book);
by("other").addEventListener("click", () => { if (busy) return; release(); say(""); stage("choose", by("choose-title")); reload(); });
addEventListener("pagehide", release);
addEventListener("pageshow", (event) => { if (event.persisted && !by("details").hidden) tick(); });
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && !by("choose").hidden && !busy && Date.now() - loadedAt > 60000) reload();
});
start();
if (page.dataset.checking) (async () => { while (!(await reload())) await sleep(20); by("pick").hidden = false; })();

"use strict";
// Every page works without this. With it, times are shown in the viewer's zone and the page refreshes itself.

const by = (id) => document.getElementById(id);
const EVERY = 5000; // milliseconds
const TYPING = "input, select, textarea";
const here = new Intl.DateTimeFormat().resolvedOptions().timeZone;
const remembered = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a private window forgets */ } };

let zone = remembered("zone") === "UTC" ? "UTC" : here;
let paused = false;
let refreshing = false;

// Showing instants

const clock = (moment) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short", year: "numeric",
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(moment);

function show(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    time.title = `${clock(moment)} (${zone})`;
    if ("keep" in time.dataset) continue; // "5 min ago" is true in every zone
    time.dataset.utc ??= time.textContent;
    time.textContent = zone === "UTC" ? time.dataset.utc : clock(moment);
  }
  if (by("zone")) by("zone").textContent = `Times in ${zone.replaceAll("_", " ")}`;
  const mine = by("mine");
  if (mine) {
    const address = new URL(mine.href);
    address.searchParams.set("zone", here);
    mine.href = address.href;
    mine.textContent = `yours (${here.replaceAll("_", " ")})`;
    mine.hidden = here === "UTC";
    if (mine.dataset.asked === here) mine.setAttribute("aria-current", "true");
  }
}

// Refreshing: the page is asked for again, and its main part put in the place of the old one.

function isUsed(live) { // somebody types there, selects a text, or has the focus on what could not be found again
  const focused = document.activeElement;
  const selected = document.getSelection();
  if (selected && !selected.isCollapsed && live.contains(selected.anchorNode)) return true;
  return live.contains(focused) && (focused.matches(TYPING) || !place(focused, live));
}

function place(focused, live) { // where the same element will be: by its id, or a link by where it leads
  if (focused.id) return `#${CSS.escape(focused.id)}`;
  const details = focused.closest("details[id]");
  if (focused.tagName === "SUMMARY" && details) return `#${CSS.escape(details.id)} > summary`;
  const href = focused.getAttribute("href");
  const found = href ? `a[href="${CSS.escape(href)}"]` : "";
  return found && live.querySelectorAll(found).length === 1 ? found : "";
}

function replace(live, fresh) {
  const focused = live.contains(document.activeElement) ? place(document.activeElement, live) : "";
  for (const open of live.querySelectorAll("details[id][open]")) {
    const same = fresh.querySelector(`#${CSS.escape(open.id)}`);
    if (same) same.open = true;
  }
  const scrolled = [...live.querySelectorAll(".wide")].map((one) => one.scrollLeft);
  live.replaceWith(fresh);
  fresh.querySelectorAll(".wide").forEach((one, number) => { one.scrollLeft = scrolled[number] ?? 0; });
  if (focused) fresh.querySelector(focused)?.focus({ preventScroll: true });
}

async function refresh() {
  const live = by("live");
  if (paused || refreshing || document.hidden || isUsed(live)) return;
  refreshing = true;
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (new URL(response.url).pathname !== location.pathname) { location.reload(); return; } // signed out
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("live");
    if (!fresh) throw new Error(page.querySelector("h1")?.textContent ?? "The server does not answer");
    if (paused || isUsed(by("live"))) return;
    replace(by("live"), document.adoptNode(fresh));
    by("asof").replaceChildren(...page.getElementById("asof").childNodes);
    by("trouble").textContent = "";
    show(document);
  } catch (error) {
    const reason = error instanceof TypeError ? "The server does not answer" : error.message;
    const said = `${reason}. What you see is old.`;
    if (by("trouble").textContent !== said) by("trouble").textContent = said;
  } finally {
    refreshing = false;
  }
}

if (by("live")) {
  by("zone").hidden = here === "UTC";
  by("zone").addEventListener("click", () => {
    zone = zone === "UTC" ? here : "UTC";
    remember("zone", zone === "UTC" ? "UTC" : "here");
    show(document);
  });
  by("pause").hidden = false;
  by("pause").addEventListener("click", () => {
    paused = !paused;
    by("pause").textContent = paused ? "Paused: refresh again" : "Pause refreshing";
    refresh();
  });
  const address = new URL(location.href);
  if (address.searchParams.has("done")) { // said once
    address.searchParams.delete("done");
    history.replaceState(null, "", address);
  }
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, EVERY);
}
show(document);

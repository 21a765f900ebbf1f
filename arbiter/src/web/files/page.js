// Keeps the page as things stand: parts that have changed come as server-sent events, and are laid over what is there
// node by node, so that neither focus nor a selection nor an open detail is lost.
"use strict";

// What is there becomes what is wanted, with as few changes as that takes.
function lay(there, wanted) {
  if (there.nodeType !== wanted.nodeType || there.nodeName !== wanted.nodeName) {
    there.replaceWith(wanted);
    return;
  }
  if (there.nodeType !== Node.ELEMENT_NODE) {
    if (there.nodeValue !== wanted.nodeValue) there.nodeValue = wanted.nodeValue;
    return;
  }
  for (const { name } of [...there.attributes]) {
    // Whoever has opened a detail wants it open.
    if (!wanted.hasAttribute(name) && name !== "open") there.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  }
  layChildren(there, wanted);
}

// Rows have a key: a new one at the top is not the old one changed, and so are all below it.
function layChildren(there, wanted) {
  const known = new Map();
  for (const child of there.children) if (child.dataset.key) known.set(child.dataset.key, child);
  let place = there.firstChild;
  for (const node of [...wanted.childNodes]) {
    const key = node.dataset && node.dataset.key;
    const same = key && known.get(key);
    if (same) {
      known.delete(key);
      if (same === place) place = place.nextSibling;
      else there.insertBefore(same, place);
      lay(same, node);
    } else if (key || !place || (place.dataset && place.dataset.key)) {
      there.insertBefore(node, place);
    } else {
      const next = place.nextSibling;
      lay(place, node);
      place = next;
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

const trouble = document.getElementById("trouble");
const pulse = document.getElementById("pulse");
let last = performance.now();
// What the program said is wrong, and whether it says anything.
let known = "", isSilent = false;

function say(words) {
  if (trouble.textContent !== words) trouble.textContent = words;
  trouble.hidden = words === "";
  document.body.classList.toggle("stale", words !== "");
}

// The program has spoken.
function heard(words = known) {
  last = performance.now();
  known = words;
  isSilent = false;
  say(words);
}

// A program that is stopped keeps its connections, and says nothing.
function listen(now) {
  if (!isSilent && now - last > 6000) {
    isSilent = true;
    say("Nothing has come from the program for 6 s: it is stopped, or the way to it is cut. What is below is as it was then.");
  }
}

function follow() {
  const events = new EventSource("/live");
  events.addEventListener("parts", (event) => {
    heard("");
    for (const [id, html] of JSON.parse(event.data)) {
      const there = document.getElementById(id);
      if (!there) continue;
      const wanted = document.createElement("template");
      wanted.innerHTML = html;
      layChildren(there, wanted.content);
    }
    count();
  });
  events.addEventListener("trouble", (event) => {
    heard(JSON.parse(event.data) + " What is below is as it was then.");
  });
  events.addEventListener("still", () => heard());
  events.onopen = () => {
    heard();
    pulse.textContent = "Live.";
  };
  events.onerror = () => {
    pulse.textContent = "Not live.";
    say("No connection to the program: it has stopped, or the way to it is cut. What is below is as it was then.");
    // A browser that has given up does not try again by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  };
}

// A lease is counted down between two words of the program's, by this browser's own clock.
const counting = new WeakMap();

function count() {
  const now = performance.now();
  for (const cell of document.querySelectorAll("[data-left]")) {
    const { left, at } = cell.dataset;
    let begun = counting.get(cell);
    if (!begun || begun.at !== at) {
      begun = { at, since: last };
      counting.set(cell, begun);
    }
    const rest = Math.max(0, Number(left) - (now - begun.since));
    const text = cell.querySelector("[data-count]");
    const bar = cell.querySelector("rect.left");
    const words = (rest / 1000).toFixed(2) + " s";
    if (text && text.textContent !== words) text.textContent = words;
    if (bar) bar.setAttribute("width", String(Math.min(100, (100 * rest) / Number(cell.dataset.of))));
  }
}

// Those who want no motion get a number a second.
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let shown = 0;
function frame(now) {
  if (now - shown >= (calm.matches ? 1000 : 100)) {
    shown = now;
    listen(now);
    count();
  }
  requestAnimationFrame(frame);
}

// Where the hour is wider than the window, what was last is what counts.
for (const hour of document.querySelectorAll(".hour")) hour.parentElement.scrollLeft = hour.parentElement.scrollWidth;

follow();
requestAnimationFrame(frame);

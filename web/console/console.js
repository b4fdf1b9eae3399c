// Keeps the list of calls fresh and sends the two buttons' wishes. The server renders everything, so there is
// nothing here to escape.
"use strict";

const content = document.getElementById("content");
const status = document.getElementById("status");
const EVERY_MS = 1000;

let shown = "";
let saidUntil = 0;

function say(text, kind) {
  status.textContent = text;
  status.className = kind;
}

function replace(html) {
  if (html === shown) return;
  const open = new Map([...content.querySelectorAll("details")].map((d) => [d.id, d.open]));
  const focused = document.activeElement?.dataset ?? {};
  content.innerHTML = shown = html;
  for (const details of content.querySelectorAll("details")) {
    if (open.has(details.id)) details.open = open.get(details.id);
  }
  if (focused.call) {
    content.querySelector(`[data-call="${focused.call}"][data-verb="${focused.verb}"]`)?.focus();
  }
}

async function refresh() {
  try {
    const answer = await fetch("console/calls");
    if (answer.status === 401) return location.reload();
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    replace(await answer.text());
    if (Date.now() > saidUntil) say("Live", "good");
  } catch (error) {
    say(`Not connected: ${error.message}`, "bad");
  }
  setTimeout(refresh, document.hidden ? 5 * EVERY_MS : EVERY_MS);
}

content.addEventListener("click", async (event) => {
  const { call, verb, ask } = event.target.dataset;
  if (!call || !confirm(ask)) return;
  event.target.disabled = true;
  saidUntil = Date.now() + 5000;
  try {
    const answer = await fetch(`v1/calls/${encodeURIComponent(call)}/${verb}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ reason: "asked for on the console" }),
    });
    const body = await answer.json();
    say(answer.ok ? `Done: ${verb}` : body.error.message, answer.ok ? "good" : "bad");
  } catch (error) {
    say(`Not done: ${error.message}`, "bad");
  }
});

if (content.querySelector(".way-in")) {
  say("", "");
} else {
  refresh();
}

// Makes pages pleasanter; every page works without it.
//  data-copy="ID"   a button that copies the text of the element with that id (hidden until this script runs)
//  data-live="URL"  server-sent events: `part` replaces the element of an id, `done` loads the page that it names, `over` loads this one
//                   again, `end` leaves it as it is; the focus and what was typed stay
//  data-confirm="…" a form that asks first
"use strict";

const copiers = (root) => root.querySelectorAll("button[data-copy]").forEach((button) => { button.hidden = false; });
copiers(document);
// One listener for all: a live part brings buttons of its own.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const text = source.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without the clipboard (a page that is not encrypted) the text is selected, ready to be copied by hand.
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    if (!document.execCommand("copy")) return;
  }
  const said = document.getElementById("said");
  const before = button.textContent;
  button.textContent = button.dataset.done;
  if (said) said.textContent = button.dataset.done;
  setTimeout(() => { button.textContent = before; if (said) said.textContent = ""; }, 2500);
});

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}

// Replaces a live part. Somebody may be typing into it, or going through it by keyboard.
function replace(old, html) {
  const part = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  if (!part) return;
  copiers(part);
  if (old.isEqualNode(part)) return;
  const focus = old.contains(document.activeElement) ? document.activeElement : null;
  const selection = focus?.matches("input[type=text], input:not([type])") ? [focus.selectionStart, focus.selectionEnd] : null;
  for (const field of old.querySelectorAll("input[id], textarea[id]")) {
    const again = part.querySelector(`#${CSS.escape(field.id)}`);
    if (again && field.value !== field.defaultValue) again.value = field.value;
    if (again && field.checked !== field.defaultChecked) again.checked = field.checked;
  }
  // Two links may say and do the same, and a table that is scrolled by keyboard has another text now.
  const all = (root) => focus ? [...root.querySelectorAll(focus.tagName)] : [];
  const alike = (root) => all(root).filter((it) => it.textContent === focus.textContent && it.href === focus.href);
  const [at, among] = [alike(old).indexOf(focus), all(old).indexOf(focus)];
  old.replaceWith(document.adoptNode(part));
  if (!focus) return;
  const again = focus.id ? document.getElementById(focus.id) : alike(part)[at] ?? all(part)[among];
  again?.focus({ preventScroll: true });
  if (again && selection) again.setSelectionRange(...selection);
}

for (const live of document.querySelectorAll("[data-live]")) {
  const stream = new EventSource(live.dataset.live);
  stream.addEventListener("part", (event) => {
    const { id, html } = JSON.parse(event.data);
    const old = document.getElementById(id);
    if (old) replace(old, html);
  });
  stream.addEventListener("done", (event) => {
    stream.close();
    location.replace(event.data);
  });
  stream.addEventListener("over", () => {
    stream.close();
    location.reload();
  });
  stream.addEventListener("end", () => stream.close());
}

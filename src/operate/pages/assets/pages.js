// Makes pages pleasanter; every page works without it.
//  data-copy="ID"   a button that copies the text of the element with that id (hidden until this script runs)
//  data-live="URL"  server-sent events: `part` replaces the element of an id, `done` loads the page that it names
//  data-confirm="…" a form that asks first
"use strict";

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
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
}

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}

for (const live of document.querySelectorAll("[data-live]")) {
  const stream = new EventSource(live.dataset.live);
  stream.addEventListener("part", (event) => {
    const { id, html } = JSON.parse(event.data);
    const old = document.getElementById(id);
    if (!old) return;
    const parsed = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
    if (parsed) old.replaceWith(document.adoptNode(parsed));
  });
  stream.addEventListener("done", (event) => {
    stream.close();
    if (event.data) location.replace(event.data);
  });
}

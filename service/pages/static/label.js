// The label desk: shows one image after the other and sends each answer while the next image is already there.
const desk = document.getElementById("desk");
const items = desk ? [...desk.querySelectorAll(".queue > li")] : [];
const progress = document.getElementById("progress");
const failure = document.getElementById("failure");
const undo = document.getElementById("undo");
const typed = desk?.querySelector(".typed input");
let place = 0;
let sent = Promise.resolve();  // the answers on their way, one after the other

function show(next) {
  place = next;
  items.forEach((item, index) => { item.hidden = index !== place; });
  if (place < items.length) desk.elements.id.value = items[place].dataset.id;
  for (const button of desk.querySelectorAll("button[name=label]"))
    button.setAttribute("aria-pressed", String(button.value === items[place]?.dataset.label));
  undo.hidden = place === 0;
  document.getElementById("skip").disabled = Boolean(items[place]?.dataset.label);
  if (typed) {
    typed.value = items[place]?.dataset.label ?? "";
    typed.focus();
  }
}

async function send(address, fields, index) {
  // With keepalive the answer arrives although the page is left at once.
  const request = { method: "POST", body: fields, headers: { Accept: "application/json" }, keepalive: true };
  const answer = await fetch(address, request);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail);
  progress.textContent = body.progress;
  if (index === items.length - 1) location.assign(location.pathname + "?stream=" + encodeURIComponent(fields.get("stream")));
}

function answer(address, label) {
  const fields = new URLSearchParams(new FormData(desk));
  if (label === null) fields.delete("label");
  else fields.set("label", label);
  const index = place;
  if (label !== null) items[index].dataset.label = label;
  failure.hidden = true;
  sent = sent.then(() => send(address, fields, index)).catch((error) => {
    delete items[index].dataset.label;
    failure.textContent = `Not stored: ${error.message}`;
    failure.hidden = false;
    show(index);
  });
  if (index + 1 < items.length) show(index + 1);
}

function back() {
  if (place > 0) show(place - 1);
  else document.getElementById("last")?.click();
}

function press(event) {
  const writes = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (writes || event.ctrlKey || event.metaKey || event.altKey || !document.getElementById("keys")?.checked) return;
  if (event.key === "Backspace") {
    event.preventDefault();
    back();
    return;
  }
  const button = [...desk.querySelectorAll("button[data-key]")].find((each) => each.dataset.key === event.key.toLowerCase());
  if (!button || button.disabled || event.repeat) return;
  event.preventDefault();
  button.click();
}

if (desk) {
  desk.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    const skips = button?.id === "skip";
    answer(skips ? button.formAction : desk.action, skips ? null : button?.value || typed?.value);
  });
  undo.addEventListener("click", back);
  document.addEventListener("keydown", press);
  show(0);
}

// Keeps the overview up to date: asks for the page again and swaps its live part, keeping the focus where it is.
const live = document.getElementById("live");
const stale = document.getElementById("stale");

function swap(next) {
  const focused = live.contains(document.activeElement) && document.activeElement.getAttribute("href");
  live.replaceChildren(...next.childNodes);
  if (focused) live.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function refresh() {
  if (document.hidden || !getSelection().isCollapsed) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok && answer.status !== 503) throw new Error(answer.statusText); // 503 is a page if the server has one
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    swap(page.getElementById("live"));
    document.title = page.title;
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  }
}

if (live) {
  setInterval(refresh, 1000 * Number(live.dataset.refresh));
  document.addEventListener("visibilitychange", refresh);
}

const live = document.querySelector("#live[data-refresh]");
async function refresh() {
  const busy = live.querySelector("details[open], form :focus, a:focus");
  if (document.hidden || busy) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer || !answer.ok) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#live");
  if (next) live.replaceChildren(...next.childNodes);
}
if (live) setInterval(refresh, 1000 * Number(live.dataset.refresh));

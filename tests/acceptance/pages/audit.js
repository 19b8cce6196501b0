// What is wrong with the page that is open at a width, as sentences: an accessibility check of what our pages are made of.
(width) => {
  const found = [];
  const rgb = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, under) => {
    const mixed = (channel) => top[channel] * top.a + under[channel] * (1 - top.a);
    return { r: mixed("r"), g: mixed("g"), b: mixed("b"), a: 1 };
  };
  const ground = (element) => {
    if (!element) return rgb(matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(0,0,0)" : "rgb(255,255,255)");
    return over(rgb(getComputedStyle(element).backgroundColor), ground(element.parentElement));
  };
  const luminance = ({ r, g, b }) => {
    const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };

  if (!document.documentElement.lang) found.push("no language");
  if (!document.title) found.push("no title");
  if (document.querySelectorAll("main").length !== 1) found.push("not one main");
  if (document.documentElement.scrollWidth > width)
    found.push(`scrolls sideways: ${document.documentElement.scrollWidth} of ${width}`);

  let level = 0;
  for (const heading of document.querySelectorAll("h1,h2,h3,h4,h5,h6")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) found.push(`heading out of order: ${heading.tagName} ${heading.textContent}`);
    level = next;
  }
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");

  for (const image of document.querySelectorAll("img:not([alt])")) found.push(`no alternative: ${image.src}`);
  for (const image of document.querySelectorAll("svg"))
    if (image.getAttribute("role") !== "img" || !image.getAttribute("aria-label")) found.push("a chart has no alternative");
  for (const field of document.querySelectorAll("select,input,textarea"))
    if (!field.labels.length) found.push(`no label: ${field.name}`);
  for (const link of document.querySelectorAll("a,button"))
    if (!link.textContent.trim()) found.push(`no text: ${link.outerHTML}`);
  for (const heading of document.querySelectorAll("th:not([scope])")) found.push(`no scope: ${heading.textContent}`);
  for (const heading of document.querySelectorAll("th[scope=row]"))
    if (heading.textContent.trim().length > 4 && heading.clientWidth < 60) found.push(`squeezed: ${heading.textContent}`);
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) found.push("an id comes twice");

  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const under = ground(element);
    const ink = over(rgb(element.closest("svg") ? style.fill : style.color), under);
    const ratio = contrast(ink, under);
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${texts.currentNode.textContent.trim()}`);
    const size = parseFloat(style.fontSize) * (element.getScreenCTM ? element.getScreenCTM().a : 1);
    if (size < 9.5) found.push(`${size.toFixed(1)} px: ${texts.currentNode.textContent.trim()}`);
  }

  for (const chart of document.querySelectorAll("svg")) {
    const frame = chart.getBoundingClientRect();
    const labels = [...chart.querySelectorAll("text")].map((label) => [label.textContent, label.getBoundingClientRect()]);
    for (const [content, box] of labels) {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 2 || box.bottom > frame.bottom + 2)
        found.push(`a chart cuts off: ${content}`);
      for (const [other, next] of labels)
        if (next !== box && box.left < next.right - 1 && next.left < box.right - 1 && box.top < next.bottom - 4 && next.top < box.bottom - 4)
          found.push(`labels overlap: ${content}, ${other}`);
    }
  }
  return found;
}

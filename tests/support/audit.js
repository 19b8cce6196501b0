// What axe-core does not look for, as sentences: width, size of letters, and the words inside charts.
(width) => {
  const found = [];
  const rgb = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb(colour);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };

  if (document.documentElement.scrollWidth > width)
    for (const element of document.querySelectorAll("main *"))
      if (element.getBoundingClientRect().right > width) found.push(`beyond the edge: ${element.outerHTML.slice(0, 80)}`);
  for (const heading of document.querySelectorAll("th:not([scope])")) found.push(`no scope: ${heading.textContent}`);
  for (const heading of document.querySelectorAll("th[scope=row]"))
    if (heading.textContent.trim().length > 4 && heading.clientWidth < 60) found.push(`squeezed: ${heading.textContent}`);
  for (const image of document.images) if (!image.naturalWidth) found.push(`does not show: ${image.alt}`);

  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const content = texts.currentNode.textContent.trim();
    if (!content || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize) * (element.getScreenCTM ? element.getScreenCTM().a : 1);
    if (size < 9.5) found.push(`${size.toFixed(1)} px: ${content}`);
    if (!element.closest("svg")) continue;
    const ratio = contrast(style.fill, getComputedStyle(document.body).backgroundColor);
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${content}`);
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

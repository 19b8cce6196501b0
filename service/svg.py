"""SVG that pages and reports share: texts, outlines of histograms, and figures with a text alternative."""

from collections.abc import Sequence

from markupsafe import Markup, escape


def text(x: float, y: float, content: str, anchor: str = "start", style: str = "") -> str:
    """Return a line of text; `style` is a class of the style sheet."""
    kind = f'class="{style}" ' if style else ""
    return f'<text {kind}x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def outline(shares: Sequence[float], top: float, left: float, right: float, base: float, height: float) -> str:
    """Return the points of a polygon around the bars of a histogram; a share of `top` is `height` tall."""
    step = (right - left) / max(len(shares), 1)
    points = [f"{left},{base}"]
    for bar, share in enumerate(shares):
        y = base - share / top * height
        points += [f"{left + bar * step:.1f},{y:.1f}", f"{left + (bar + 1) * step:.1f},{y:.1f}"]
    return " ".join([*points, f"{right},{base}"])


def drawing(description: str, width: float, height: float, parts: Sequence[str]) -> Markup:
    """Return parts, whose texts are escaped, as an SVG element with a text alternative."""
    body = Markup("".join(parts))  # noqa: S704 - numbers and escaped names only
    return Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        width, height, description, body
    )


def figure(title: str, description: str, width: float, height: float, parts: Sequence[str]) -> Markup:
    """Return a drawing under its title."""
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(
        title, drawing(f"{title}: {description}", width, height, parts)
    )

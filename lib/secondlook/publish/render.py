"""Plotly's JSON, as notebooks carry it, drawn on a page: a `<figure>` that `book/_static/secondlook.js` fills."""

import html
import json
import re

from docutils import nodes

from secondlook.publish.numbers import numbers_html

MIME = "application/vnd.plotly.v1+json"
SCRIPTS = ("plotly.min.js", "secondlook-templates.js", "secondlook.js")
HEIGHT = 450  # pixels, where the figure names none: Plotly's own default
TOP = 32  # pixels above a plot whose title stands in the caption: room for the titles of panels


class PlotlyRenderer:
    """The `myst_nb.mime_renderers` entry point."""

    mime_priority_overrides = (("*", MIME, 1),)

    @staticmethod
    def handle_mime(renderer, data, inline: int) -> list[nodes.Element] | None:
        """The nodes of a figure, or None for what is not one. Warns of a figure without id or alternative text."""
        if inline or data.mime_type != MIME:
            return None
        figure = json.loads(data.content) if isinstance(data.content, str) else data.content
        declared = extras(figure)
        for key, word in (("id", "an id"), ("alt", "alternative text")):
            if not declared.get(key):
                name = declared.get("id", "of this cell")
                message = f"the figure {name} has no {word.split(' ', 1)[1]}: set layout.meta.secondlook.{key}"
                renderer.logger.warning(message, subtype="secondlook", line=data.line)
        for script in SCRIPTS:
            renderer.add_js_file(script, script, {"defer": "defer"})
        return [nodes.raw("", figure_html(figure, f"figure-{data.cell_index}-{data.output_index}"), format="html")]


def extras(figure: dict) -> dict:
    """What a figure declares in `layout.meta.secondlook`: id, alt, hover_sprite, click_sprite."""
    meta = figure.get("layout", {}).get("meta")
    declared = meta.get("secondlook") if isinstance(meta, dict) else None
    return declared if isinstance(declared, dict) else {}


def figure_html(figure: dict, spare_id: str) -> str:
    """The `<figure>` of a Plotly figure: caption, an empty plot of its final height, the JSON it is drawn from, tables.

    The title becomes the caption, since text in a drawing neither wraps nor can be searched. The template is left out:
    the page's script puts in the light or the dark one.
    """
    declared = extras(figure)
    layout = {key: value for key, value in figure.get("layout", {}).items() if key not in ("template", "title")}
    title, subtitle = _title(figure.get("layout", {}).get("title"))
    if title:
        _close_up(layout, declared.get("room", 0))
    body = {"data": figure.get("data", []), "layout": layout, "frames": figure.get("frames") or []}
    # A "<" in a script could end it; in JSON it may as well be written by its number.
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    name = html.escape(str(declared.get("id") or spare_id))
    alt = html.escape(str(declared.get("alt") or ""))
    numbers = numbers_html(body, title)
    caption = f'<figcaption id="{name}-title">{_inline(title)}{_second_line(subtitle)}</figcaption>'
    return (
        f'<figure class="sl-figure" data-figure="{name}">{caption}'
        f'<div class="sl-plot" id="{name}" role="{_role(layout)}" aria-label="{alt}" tabindex="0" '
        f'aria-describedby="{name}-help" style="min-height:{layout.get("height", HEIGHT):.0f}px"></div>'
        f'<p class="sl-hidden" id="{name}-help">{_help(layout, bool(numbers))}</p>'
        f'<p class="sl-hidden" aria-live="polite"></p>'
        f"<noscript><p>This figure is drawn by a script, which is switched off here. It shows: {alt}</p></noscript>"
        f'<script type="application/json">{text}</script>{numbers}</figure>'
    )


def _title(title) -> tuple[str, str]:
    if isinstance(title, dict):
        return title.get("text") or "", (title.get("subtitle") or {}).get("text") or ""
    return title or "", ""


def _close_up(layout: dict, room: int) -> None:
    """Takes back the room a title had: what the figure declares, or all of it unless menus stand in it."""
    margin = dict(layout.get("margin") or {})
    top = margin.get("t", 100)
    if room:
        layout["margin"] = {**margin, "t": top - room}
        layout["height"] = layout.get("height", HEIGHT) - room
        return
    if layout.get("updatemenus") or top <= TOP:
        return
    layout["margin"] = {**margin, "t": TOP}
    layout["height"] = layout.get("height", HEIGHT) - (top - TOP)


def _inline(text: str) -> str:
    """Plotly's text with the few tags it allows; everything else is escaped."""
    text = html.escape(re.sub(r"<br\s*/?>", " ", text), quote=False)
    return re.sub(r"&lt;(/?(?:b|i|em|strong|sub|sup))&gt;", r"<\1>", text)


def _second_line(text: str) -> str:
    return f'<span class="sl-subtitle">{_inline(text)}</span>' if text else ""


def _role(layout: dict) -> str:
    """A group, since it has buttons; or, where arrow keys work its controls, what screen readers leave the keys to."""
    return "application" if layout.get("sliders") or layout.get("updatemenus") else "group"


def _help(layout: dict, numbers: bool) -> str:
    words = ["Interactive figure."]
    if layout.get("sliders"):
        words.append("The left and right arrow keys move its slider.")
    if layout.get("updatemenus"):
        words.append("The up and down arrow keys go through its menu.")
    most = max(len(layout.get(kind) or ()) for kind in ("sliders", "updatemenus"))
    if most > 1:
        words.append(f"There is more than one: the keys 1 to {most} choose which of them the arrows work.")
    if numbers:
        words.append("Its numbers follow it as tables.")
    return " ".join(words)

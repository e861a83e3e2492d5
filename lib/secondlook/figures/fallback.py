"""What a figure says where nothing draws it: `nbconvert`, a plain viewer, a terminal.

JupyterLab and the book draw the form of an output that is Plotly's; what does not know it shows one of these.
"""

import html
import re

import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

NOTE = "The figure itself is interactive: open the notebook in JupyterLab, or the page of the book."


class Words(MimetypeRenderer):
    """The forms that any viewer knows: title, data and description."""

    def to_mimebundle(self, fig_dict: dict) -> dict[str, str]:
        layout = fig_dict.get("layout") or {}
        title, meta = layout.get("title") or {}, layout.get("meta") or {}
        subtitle, declared = title.get("subtitle") or {}, (isinstance(meta, dict) and meta.get("secondlook")) or {}
        words = (title.get("text"), subtitle.get("text"), declared.get("alt"))
        head, *rest = [re.sub(r"</?[a-z]+ ?/?>", " ", text) for text in words if text] or ["A figure"]
        body = "".join(f"<p>{html.escape(html.unescape(text), quote=False)}</p>" for text in [*rest, NOTE])
        caption = html.escape(html.unescape(head), quote=False)
        return {"text/plain": "\n".join([head, *rest]),
                "text/html": f"<figure><figcaption><strong>{caption}</strong></figcaption>{body}</figure>"}  # fmt: skip


pio.renderers["secondlook"] = Words()
if pio.renderers.default == "plotly_mimetype":  # a plain Jupyter kernel's; where something else draws, it goes on
    pio.renderers.default = "plotly_mimetype+secondlook"

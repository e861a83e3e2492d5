"""The Sphinx extension of the book: forbids training, brings the local scripts, and draws formulas as MathML."""

import json
import os
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from secondlook.publish import math

ASSETS = "_build/assets"  # below the source folder; what the build makes and every page may load


def setup(app) -> dict:
    """Registers everything; called by Sphinx."""
    os.environ["SECONDLOOK_TRAIN"] = "never"  # kernels inherit it, and it wins over a notebook's own parameter
    app.add_html_math_renderer("mathml", (math.visit_inline, None), (math.visit_block, None))
    app.connect("config-inited", make_assets, priority=100)
    app.add_css_file("secondlook.css")
    return {"version": version("secondlook"), "parallel_read_safe": True, "parallel_write_safe": True}


def make_assets(app, config) -> None:
    """Writes Plotly's script and the two templates, and names the folder to Sphinx and to the notebooks.

    A notebook may leave sprites in `$SECONDLOOK_ASSETS/sprites/`: they are copied to the site after it has run, and
    a figure names one by its path below that folder.
    """
    from plotly.offline import get_plotlyjs

    folder = Path(app.srcdir, ASSETS)
    (folder / "sprites").mkdir(parents=True, exist_ok=True)
    os.environ["SECONDLOOK_ASSETS"] = str(folder)
    _write(folder / "plotly.min.js", get_plotlyjs())
    templates = json.dumps(figure_templates(), separators=(",", ":"))
    _write(folder / "secondlook-templates.js", f"window.secondlookTemplates = {templates};\n")
    config.html_static_path.append(str(folder))


def figure_templates() -> dict:
    """The templates of the figures, as plain dicts: {"light": …, "dark": …}."""
    try:
        template = import_module("secondlook.figures.template")
    except ModuleNotFoundError:
        templates = import_module("plotly.io").templates
        return {"light": templates["plotly_white"].to_plotly_json(), "dark": templates["plotly_dark"].to_plotly_json()}
    return {"light": template.LIGHT, "dark": template.DARK}


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")

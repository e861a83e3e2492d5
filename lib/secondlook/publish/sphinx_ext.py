"""The Sphinx extension of the book: forbids training, brings the local scripts, and draws formulas as MathML."""

import json
import os
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from secondlook.publish import math

ASSETS = "_build/assets"  # below the source folder; what the build makes and every page may load


def setup(app) -> dict:
    """Registers everything; called by Sphinx."""
    os.environ["SECONDLOOK_TRAIN"] = "never"  # kernels inherit it, and it wins over a notebook's own parameter
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"  # whatever a reader prefers elsewhere
    app.add_html_math_renderer("mathml", (math.visit_inline, None), (math.visit_block, None))
    app.connect("config-inited", make_assets, priority=100)
    app.config.ogp_site_url = os.environ.get("SECONDLOOK_URL", "")  # social previews want whole addresses
    app.connect("env-get-outdated", computed_pages)
    app.add_css_file("secondlook.css")
    # It numbers pages after all are read, and only where a table of contents asks for it: ours does not.
    app.extensions["sphinx_multitoc_numbering"].parallel_read_safe = True
    return {"version": version("secondlook"), "parallel_read_safe": True, "parallel_write_safe": True}


def make_assets(app, config) -> None:
    """Writes Plotly's script, the two templates and a font for formulas; names the folder to Sphinx and to notebooks.

    A notebook may leave sprites in `$SECONDLOOK_ASSETS/sprites/`: they are copied to the site after it has run, and
    a figure names one by its path below that folder.
    """
    from plotly.offline import get_plotlyjs

    from secondlook.figures import template

    folder = Path(app.srcdir, ASSETS)
    (folder / "sprites").mkdir(parents=True, exist_ok=True)
    os.environ["SECONDLOOK_ASSETS"] = str(folder)
    _write(folder / "plotly.min.js", get_plotlyjs())
    templates = json.dumps({"light": template.LIGHT, "dark": template.DARK}, separators=(",", ":"))
    _write(folder / "secondlook-templates.js", f"window.secondlookTemplates = {templates};\n")
    # A font made for formulas says where exponents and subscripts stand; few systems have one, this package brings it.
    shutil.copyfile(Path(find_spec("ziamath").origin).parent / "fonts" / "STIXTwoMath-Regular.ttf", folder / "math.ttf")
    config.html_static_path.append(str(folder))


def computed_pages(app, env, added, changed, removed) -> list[str]:
    """All notebooks: what they show comes from records, and Sphinx would not see that a record has changed."""
    return [name for name in env.found_docs if str(env.doc2path(name)).endswith(".ipynb")]


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")

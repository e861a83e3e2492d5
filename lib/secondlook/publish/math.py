"""Formulas as MathML, made when the book is built, so that a page needs no maths script."""

import html
import re
import unicodedata
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert_to_element
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number

ENVIRONMENTS = ("cases", "align*", "split", "gather*", "matrix", "pmatrix", "bmatrix", "vmatrix", "array", "substack")
# The numbering is Sphinx's, so environments that would number again become those that do not.
RENAMED = {"aligned": "split", "align": "align*", "equation": "split", "equation*": "split", "gather": "gather*"}
ARG_LIMITS = re.compile(r"\\operatorname\*\{arg\s*(?:\\,)?\s*(max|min)\}|\\arg\s*(?:\\,)?\s*\\(max|min)")
LIMITS = ("max", "min", "sup", "inf", "lim", "arg\u2009max", "arg\u2009min")
# Browsers know no mathvariant but "normal": the letters themselves must be bold, script or double-struck.
ALPHABETS = {
    "bold": "BOLD",
    "italic": "ITALIC",
    "bold-italic": "BOLD ITALIC",
    "double-struck": "DOUBLE-STRUCK",
    "script": "SCRIPT",
    "fraktur": "FRAKTUR",
    "sans-serif": "SANS-SERIF",
    "monospace": "MONOSPACE",
}


class FormulaError(ExtensionError):
    """A formula that cannot be drawn: names it, and says what stands in the way."""


def mathml(tex: str, display: bool = False) -> str:
    """The `<math>` element of a TeX formula, as text.

    Raises FormulaError naming the formula, for unbalanced braces and for commands and environments that are not known.
    """
    try:
        element = convert_to_element(_plain(tex), display="block" if display else "inline")
    except FormulaError:
        raise
    except Exception as error:
        raise _refused(tex, f"{type(error).__name__} {error}".strip()) from error
    for part in element.iter():
        part.text = html.unescape(part.text or "")
    for part in element.iter():
        if part.tag != "mtext" and (part.text.startswith("\\") or part.text == "&"):
            raise _refused(tex, f"{part.text!r} is unknown, or out of place")
        _for_browsers(part, display)
    element.set("alttext", " ".join(tex.split()))
    return ElementTree.tostring(element, encoding="unicode", short_empty_elements=False)


def visit_inline(translator, node: nodes.math) -> None:
    translator.body.append(f'<span class="math">{mathml(node.astext())}</span>')
    raise nodes.SkipNode


def visit_block(translator, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(mathml(node.astext(), display=True) + "</div>\n")
    raise nodes.SkipNode


def _plain(tex: str) -> str:
    """TeX in the words latex2mathml understands; what it would pass over in silence is refused."""
    if re.sub(r"\\[{}]", "", tex).count("{") != re.sub(r"\\[{}]", "", tex).count("}"):
        raise _refused(tex, "its braces do not match")
    tex = ARG_LIMITS.sub(lambda m: f"\\arg{m[1] or m[2]}", tex)
    tex = re.sub(r"\\mathrm\{(\w)\}", r"\\text{\1}", tex)  # a single upright letter would come out italic
    if r"\operatorname*" in tex:
        raise _refused(tex, r"of \operatorname* only arg max and arg min are known")
    tex = re.sub(r"\\(begin|end)\{(\w+\*?)\}", lambda m: f"\\{m[1]}{{{RENAMED.get(m[2], m[2])}}}", tex)
    for name in re.findall(r"\\begin\{(.*?)\}", tex):
        if name not in ENVIRONMENTS:
            raise _refused(tex, f"the environment {name!r} is not one of {', '.join(ENVIRONMENTS)}")
    return tex


def _for_browsers(part, display: bool) -> None:
    """Puts into letters, tags and styles what browsers leave out of MathML: alphabets, limits below, alignment."""
    alphabet = ALPHABETS.get(part.get("mathvariant", ""))
    if alphabet:
        del part.attrib["mathvariant"]
        part.text = "".join(_letter(letter, alphabet) for letter in part.text)
    if display and part.tag == "msub" and part[0].tag == "mo" and part[0].text in LIMITS:
        part.tag = "munder"
    if part.tag == "mi" and part.text in ("±", "∓"):
        part.tag = "mo"
    if part.tag == "mo" and part.text in ("|", "‖") and "stretchy" not in part.attrib:
        part.attrib |= {"stretchy": "false", "lspace": "0", "rspace": "0"}  # a norm's two bars are of one height
    if part.tag == "mtable":
        close = part.get("columnspacing", "").startswith("0em")
        for cell in part.iter("mtd"):
            padding = ";padding-left:0;padding-right:0" if close else ""
            cell.set("style", f"text-align:{cell.attrib.pop('columnalign', 'center')}{padding}")


def _letter(letter: str, alphabet: str) -> str:
    """The letter or digit of another alphabet; itself where Unicode has none."""
    words = [word for word in unicodedata.name(letter, "").split() if word not in ("LATIN", "GREEK", "LETTER")]
    try:
        return unicodedata.lookup(f"MATHEMATICAL {alphabet} {' '.join(words)}")
    except KeyError:
        return letter


def _refused(tex: str, why: str) -> FormulaError:
    return FormulaError(f"the formula {' '.join(tex.split())!r} cannot be drawn: {why}; write it in plainer TeX")

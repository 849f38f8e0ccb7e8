"""The documentation as a site: ``make docs``, from the pages that also read as plain Markdown."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "dognet"
html_title = "dognet"
root_doc = "index"
exclude_patterns = ["_build"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nitpick_ignore = [("py:exc", "FloatingPointError")]  # Python's own: its index would have to be fetched
suppress_warnings = ["misc.highlighting_failure"]  # … stands in for lines of code, and an output may begin with #

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # written as GitHub reads it
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings tell shapes, which types don't
autodoc_preserve_defaults = True
napoleon_use_param = False

html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def formula(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers draw themselves; Sphinx's own ways need a CDN or LaTeX."""
    translator.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Let Sphinx write mathematics that way."""
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))

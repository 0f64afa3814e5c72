"""A page stands alone: figures inside, nothing from the network, text escaped."""

import base64
import re
from html.parser import HTMLParser

import numpy as np

from galaxyjax.report import plots
from galaxyjax.report.page import Cell, Section, Table, page, write_page


class Balanced(HTMLParser):
    """Fails on a tag closed out of order; collects attributes that could load something."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def example() -> str:
    figure = plots.training_curves(np.arange(3.0), {"loss": [1.0, 0.5, 0.2]})
    table = Table(("what", "measured"), (("95% <= 0.1%", Cell("0.2%", "bad")), ("max", Cell("1%", "good"))))
    return page("A & B", "lead <b>", [Section("Errors", "one\n\ntwo", (table,), (("The loss <", figure),))])


def test_the_page_is_balanced_and_loads_nothing():
    parser = Balanced()
    parser.feed(example())
    assert parser.open == []
    assert parser.addresses and all(value.startswith("data:image/png;base64,") for value in parser.addresses)
    assert "http://" not in example() and "https://" not in example() and "<script" not in example()


def test_the_figure_is_a_png():
    encoded = re.search(r"base64,([^\"]+)", example()).group(1)
    assert base64.b64decode(encoded)[:8] == b"\x89PNG\r\n\x1a\n"


def test_text_is_escaped_and_verdicts_do_not_rest_on_colour():
    text = example()
    assert "A &amp; B" in text and "lead &lt;b&gt;" in text and 'alt="The loss &lt;"' in text
    assert '<td class="bad">0.2% ✕</td>' in text and '<td class="good">1% ✓</td>' in text
    assert text.count("<p>") == 2


def test_the_page_is_written_whole(tmp_path):
    path = write_page(tmp_path / "deep" / "page.html", "T", "l", [])
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]

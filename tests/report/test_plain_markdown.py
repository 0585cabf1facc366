"""The small part of Markdown that an author's text may use."""

from __future__ import annotations

import pytest

from Utils.report.plain_markdown import BOLD, BULLETS, CODE, ITALIC, NUMBERS, PLAIN, TEXT, Span, paragraphs_of, spans_of


@pytest.mark.parametrize(
    ("line", "spans"),
    [
        ("a *b* c", [("a ", PLAIN), ("b", ITALIC), (" c", PLAIN)]),
        ("**b** and __c__", [("b", BOLD), (" and ", PLAIN), ("c", BOLD)]),
        ("snake_case_name 2 * 3 * 4", [("snake_case_name 2 * 3 * 4", PLAIN)]),
        ("`a*b*` and ``x`y``", [("a*b*", CODE), (" and ", PLAIN), ("x`y", CODE)]),
        (r"\*no\* \_", [("*no* _", PLAIN)]),
        ("end ** and *", [("end ** and *", PLAIN)]),
        ("<b>raw</b> & $x$", [("<b>raw</b> & $x$", PLAIN)]),
    ],
)
def test_looks(line, spans):
    assert spans_of(line) == [Span(*span) for span in spans]


def shape(text):
    return [(p.kind, ["".join(span.text for span in line) for line in p.lines]) for p in paragraphs_of(text)]


def test_paragraphs_lists_and_headings():
    text = "one\ntwo\r\n\n- a\n- b\n  more\n\n- c\n\nafter\n1. x\n2. y\n\n### Head ##\ntext <!-- gone\n\n--> end\n<!-- to the end"
    assert shape(text) == [(TEXT, ["one two"]), (BULLETS, ["a", "b more", "c"]), (TEXT, ["after"]), (NUMBERS, ["x", "y"]), (TEXT, ["Head"]), (TEXT, ["text  end"])]
    assert paragraphs_of("3. x")[0].first == 3 and paragraphs_of("# H")[0].lines == [[Span("H", BOLD)]]
    assert shape("") == shape("\n \n<!-- x -->") == []


def test_hostile_text_takes_no_time():
    """Paragraphs for which a search that tries all ways would take years."""
    for word in ("*", "**a", "_", "`", "``a`", "\\", "<!--"):
        assert len(paragraphs_of(word * 30_000)) <= 1
        paragraphs_of("\n\n".join([word * 300] * 20))

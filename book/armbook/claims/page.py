"""The ledger as a page shows it: a line a claim with its verdicts, the evidence behind it, and buttons that filter by verdict.

All of it is HTML and CSS. So it works without a script, from a file, and with the keyboard: buttons are radio buttons, the evidence
is in ``details``.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import resources

from armbook import miniature
from armbook.claims.ledger import PUBLISHED, VERDICTS, Row
from armbook.claims.verdicts import DOES_NOT_HOLD, HOLDS, UNDECIDED, Verdict
from armbook.sentences import capital

SIGNS = {HOLDS: "✓", DOES_NOT_HOLD: "✗", UNDECIDED: "–"}
SHORT = {PUBLISHED: "tables", miniature.NAME: "miniature", miniature.HERE: "this copy"}
TITLES = {
    "04_static_targets": "Static targets",
    "05_adaptive_targets": "Adaptive targets",
    "06_distributed_targets": "Distributed targets and the batch",
    "07_target_distributions": "Where the targets go",
    "08_comparison": "Comparison of variants",
    "09_baselines": "Teachers and other baselines",
    "12_ablations": "Ablations",
}


def as_html(rows: Sequence[Row]) -> str:
    """A ledger as a part of a page; one on a page, as it has anchors (``claim-`` and the claim's id)."""
    names = list(rows[0].verdicts)
    style = (resources.files("armbook") / "claims" / "page.css").read_text(encoding="utf8")
    return (
        f'<div class="claims-ledger tex2jax_ignore mathjax_ignore"><style>{style}{_filters(len(names))}</style>'
        f"<form>{''.join(_choices(rows, name, number) for number, name in enumerate(names))}</form>"
        f"<ol>{''.join(map(_claim, rows))}</ol>"
        f'<p class="shown" aria-hidden="true"></p></div>'
    )


def contrasts(rows: Sequence[Row]) -> str:
    """The claims that more than one column decides, as lists with links: first where these differ, then where they agree.

    Its style comes with that of `as_html`.
    """
    parts = {"Decided differently": [], "Decided alike": []}
    for row in rows:
        by_verdict = {word: [SHORT[name] for name, each in row.verdicts.items() if each.verdict == word] for word in VERDICTS[:2]}
        if sum(map(len, by_verdict.values())) > 1:
            told = "; ".join(f"{word} in {', '.join(names)}" for word, names in by_verdict.items() if names)
            line = f'<li><a href="#claim-{row.claim.id}">{html.escape(row.claim.claim)}</a>: {told}</li>'
            parts["Decided differently" if all(by_verdict.values()) else "Decided alike"].append(line)
    shown = [f"<p><strong>{name}</strong></p><ul>{''.join(found)}</ul>" for name, found in parts.items() if found]
    lists = "".join(shown) or "<p>No claim is decided by more than one of the columns.</p>"
    return f'<div class="claims-contrasts tex2jax_ignore mathjax_ignore">{lists}</div>'


def _filters(columns: int) -> str:
    """The rules that hide what a checked button leaves out."""
    return "".join(
        f".claims-ledger:has(#ledger-{column}-{verdict}:checked) ol>li:not(.by-{column}-{verdict}){{display:none}}"
        for column in range(columns)
        for verdict in range(len(VERDICTS))
    )


def _choices(rows: Sequence[Row], name: str, column: int) -> str:
    found = [row.verdicts[name].verdict for row in rows]
    made = [_button(column, "all", f"all {len(rows)}", checked=True)]
    made += [
        _button(column, str(number), f"{SIGNS[verdict]} {verdict} {found.count(verdict)}")
        for number, verdict in enumerate(VERDICTS)
    ]
    return f"<fieldset><legend>{html.escape(capital(name))}</legend>{''.join(made)}</fieldset>"


def _button(column: int, value: str, label: str, *, checked: bool = False) -> str:
    name = f"ledger-{column}"
    mark = " checked" if checked else ""
    return f'<input type="radio" name="{name}" id="{name}-{value}"{mark}><label for="{name}-{value}">{html.escape(label)}</label>'


def _claim(row: Row) -> str:
    verdicts = list(row.verdicts.items())
    classes = " ".join(f"by-{column}-{VERDICTS.index(verdict.verdict)}" for column, (_, verdict) in enumerate(verdicts))
    chips = "".join(_chip(name, verdict) for name, verdict in verdicts)
    where = html.escape(_where(row))
    link = f'<a href="{row.chapter}.html">{TITLES[row.chapter]}</a>'
    evidence = "".join(_evidence(name, verdict) for name, verdict in verdicts)
    statement = f'<span class="claim">{html.escape(row.claim.claim)}</span><span class="chips">{chips}</span>'
    shown = f'<div class="evidence"><p>{where} Chapter: {link}.</p>{evidence}</div>'
    return f'<li id="claim-{row.claim.id}" class="{classes}"><details><summary>{statement}</summary>{shown}</details></li>'


def _where(row: Row) -> str:
    section, evidence = row.claim.section, row.claim.evidence
    if evidence == "nowhere":
        return "Not a claim of the paper."
    place = f"section {section}" if section[0].isdecimal() else f"the {section.lower()}"
    shown = "its text alone says so" if evidence == "text" else f"evidence in {evidence}"
    return f"Paper, {place}; {shown}."


def _chip(name: str, verdict: Verdict) -> str:
    kind = VERDICTS.index(verdict.verdict)
    return (
        f'<span class="chip is-{kind}"><span class="column">{html.escape(SHORT[name])}</span> '
        f'<span class="verdict">{SIGNS[verdict.verdict]} {verdict.verdict}</span></span>'
    )


def _evidence(name: str, verdict: Verdict) -> str:
    because = f", {verdict.reason}" if verdict.reason else ""
    cases = "".join(f"<li>{html.escape(case)}</li>" for case in verdict.cases)
    scope = f'<p class="scope">{html.escape(capital(verdict.scope))}.</p>' if name != PUBLISHED and verdict.keys else ""
    return (
        f"<h4>{html.escape(capital(name))}: {verdict.verdict}{because}</h4><p>{html.escape(verdict.evidence)}</p>"
        f"{f'<ul>{cases}</ul>' if cases else ''}{scope}"
    )

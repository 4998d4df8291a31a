# SPDX-License-Identifier: GPL-2.0-only
"""The page: a table, in which a row unfolds to the chain of calls."""

from __future__ import annotations

from html import escape

from .rows import ADVICE, Row

STYLE = '''
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em;
       color: #222; background: #fff; overflow-wrap: anywhere }
details, .plain { border-top: 1px solid #ddd; padding: .4em 0 }
summary, .plain { padding-left: 10.85em; text-indent: -10.85em } .plain { text-indent: -9.8em }
summary { cursor: pointer }
.verdict { display: inline-block; width: 9.5em; font-weight: bold; text-indent: 0 }
.may-block { color: #b00020 } .undecided { color: #8a5a00 } .always-backs-off { color: #555 }
.may-back-off { color: #24558a } .clean { color: #1b6e2e }
code { font-size: 90% } .where { color: #666 }
ol, p { margin: .3em 0 .3em 10.85em } ol { padding-left: 1.4em }
@media (max-width: 50em) { ol, p { margin-left: 1.05em }
  summary, .plain { padding-left: 1.05em; text-indent: -1.05em } .plain { text-indent: 0 } }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #1b1b1b } details, .plain { border-color: #444 }
  .may-block { color: #ff7a85 } .undecided { color: #e3b45c } .always-backs-off { color: #aaa }
  .may-back-off { color: #8fbdf0 } .clean { color: #7fd093 } .where { color: #999 } }
'''


def _head(one: Row) -> str:
    return (f'<span class="verdict {one["verdict"]}">{one["verdict"]}</span> '
            f'<code>{escape(one["function"])}()</code> '
            f'<span class="where">{escape(one["callback"])}, {escape(one["driver"])}, '
            f'{escape(one["file"])}:{one["line"]}</span>'
            + (f' {escape(one["reason"].split(": ")[0])}' if one['reason'] else ''))


def _row(one: Row) -> str:
    advice = ADVICE.get(one['verdict'], '')
    if not one['chain'] and not one['reason'] and not advice:
        return f'<div class="plain">{_head(one)}</div>'
    steps = ''.join(f'<li><code>{escape(step["function"])}()</code> calls '
                    f'<code>{escape(step["calls"])}</code> '
                    f'<span class="where">{escape(step["file"])}:{step["line"]}</span></li>'
                    for step in one['chain'])
    texts = [text for text in (one['reason'], advice) if text]
    if one['also']:
        texts.append('also: ' + ', '.join(one['also']))
    return (f'<details><summary>{_head(one)}</summary>'
            + (f'<ol>{steps}</ol>' if steps else '')
            + ''.join(f'<p>{escape(text)}</p>' for text in texts) + '</details>')


def as_html(title: str, rows: list[Row], left_out: list[str]) -> str:
    rest = ''.join(f'<li>{escape(text)}</li>' for text in left_out)
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width">'
            f'<title>{escape(title)}</title><style>{STYLE}</style></head>\n'
            f'<body><h1>{escape(title)}</h1>\n' + '\n'.join(map(_row, rows))
            + (f'\n<h2>Not looked at</h2><ul>{rest}</ul>' if rest else '') + '\n</body></html>\n')

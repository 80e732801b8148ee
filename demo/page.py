"""The report as HTML: one file, nothing fetched from anywhere, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from demo.telling import is_numbers

CSS = Path(__file__).with_name("page.css")
LIMITS = (
    "Root on the customer's computer, with a debugger, can read a model while it is in use.",
    "A copy of a software lease made before its end opens until that end and, with altered code"
    " and a false clock, after it. Online leases leave no such copy.",
    "A data key taken from a licensed device's memory opens those files for anybody. It opens no"
    " other file.",
)
Shown = Mapping[str, tuple[str, str]]
"""Caption and ``data:`` address of a picture, by its file name."""
TITLE = "A face-fusion program, protected"


def render(data: Mapping[str, Any], shown: Sequence[tuple[str, str, str]]) -> str:
    """The page. ``shown`` are pictures: file name, caption and ``data:`` address."""
    by_name = {name: (caption, address) for name, caption, address in shown}
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        " img-src data:; style-src 'unsafe-inline'\">",
        f"<title>{TITLE}</title>",
        f"<style>{CSS.read_text(encoding='utf-8')}</style></head><body>",
        _head(data),
        "<main>",
        _figures("four", by_name, ("collins.png", "hopper.png", "swap.png", "restored.png")),
        _facts(data["facts"]),
        *(_chapter(number, each, by_name) for number, each in enumerate(data["chapters"], 1)),
        _numbers(data["numbers"]),
        _limits(),
        "</main>",
        _foot(data),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _head(data: Mapping[str, Any]) -> str:
    count = sum(len(chapter["steps"]) for chapter in data["chapters"])
    return (
        f"<header><h1>{TITLE}</h1>"
        '<p class="lead">Real models, sealed by their publisher, opened only in memory, only for'
        f" what was paid for, only as long as it lasts. {count} steps, and each has happened.</p>"
        "</header>"
    )


def _facts(facts: Sequence[Sequence[str]]) -> str:
    cells = (f"<div><b>{escape(big)}</b><span>{escape(small)}</span></div>" for big, small in facts)
    return f'<div class="facts">{"".join(cells)}</div>'


def _chapter(number: int, chapter: Mapping[str, Any], shown: Shown) -> str:
    steps = "".join(_step(step, shown) for step in chapter["steps"])
    return (
        f'<section><header><span class="chapter">{number}</span>'
        f"<h2>{escape(chapter['title'])}</h2></header>"
        f'<p>{escape(chapter["about"])}</p><ol class="steps">{steps}</ol></section>'
    )


def _step(step: Mapping[str, Any], shown: Shown) -> str:
    refused = step["refused"]
    inside = [f"<strong>{escape(step['title'])}</strong>"]
    if step["command"]:
        inside.append(f'<pre class="command">{escape(step["command"])}</pre>')
    if step["said"]:
        inside.append(f'<div class="said">{escape(chr(10).join(step["said"]))}</div>')
    if step["table"]:
        inside.append(_table(step["table"]))
    beside = [(name, caption) for name, caption in step["pictures"] if caption]
    if beside:
        captioned = {name: (caption, shown[name][1]) for name, caption in beside}
        inside.append(_figures("two", captioned, [name for name, _caption in beside]))
    mark = '<span class="mark" title="refused, as it should be">■</span>' if refused else (
        '<span class="mark" title="done">✓</span>'
    )  # fmt: skip
    kind = ' class="refused"' if refused else ""
    return (
        f'<li{kind}>{mark}<div class="what">{"".join(inside)}</div>'
        f'<span class="took">{step["seconds"]:.1f} s</span></li>'
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    kinds = [
        ' class="number"' if is_numbers(row[index] for row in body) else ""
        for index in range(len(head))
    ]

    def line(tag: str, row: Sequence[str]) -> str:
        cells = zip(row, kinds, strict=True)
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in cells)

    made = "".join(f"<tr>{line('td', row)}</tr>" for row in body)
    return f'<div class="wide"><table><tr>{line("th", head)}</tr>{made}</table></div>'


def _figures(shape: str, shown: Shown, names: Sequence[str]) -> str:
    made = (
        f'<figure><img src="{address}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, address in (shown[name] for name in names if name in shown)
    )
    return f'<div class="row {shape}">{"".join(made)}</div>'


def _numbers(numbers: Mapping[str, Any]) -> str:
    once = numbers["once_per_process"]["unlock_seconds"]
    width, height = numbers["frame_pixels"]
    return (
        "<section><header><h2>What it costs</h2></header>"
        "<p>Medians, plain and protected in turns in one process;"
        f" frames of {width} by {height} pixels. Unlocking the device key,"
        f" once per process: {once * 1000:.0f} ms, not contained below.</p>"
        '<div class="legend"><span><i></i>plain</span><span><i class="ours"></i>protected</span>'
        "<span>right: protected / plain</span></div>"
        f"{_bars(numbers['load'], 'load ')}{_bars(numbers['inference'], '')}</section>"
    )


def _bars(times: Mapping[str, Mapping[str, float]], before: str) -> str:
    longest = max(max(t["plain_seconds"], t["protected_seconds"]) for t in times.values())
    lines = []
    for name, seen in times.items():
        bars = "".join(
            f'<div class="bar{extra}" style="width:{100 * seen[key] / longest:.1f}%"'
            f' title="{seen[key] * 1000:.1f} ms"></div>'
            for key, extra in (("plain_seconds", ""), ("protected_seconds", " ours"))
        )
        lines.append(
            f'<span class="name">{escape(before + name)}</span><div class="pair">{bars}</div>'
            f'<span class="value">{seen["ratio"]:.2f}</span>'
        )
    return f'<div class="bars">{"".join(lines)}</div>'


def _limits() -> str:
    items = "".join(f"<li>{escape(limit)}</li>" for limit in LIMITS)
    return (
        "<section><header><h2>What this does not stop</h2></header>"
        f'<ul class="limits">{items}</ul></section>'
    )


def _foot(data: Mapping[str, Any]) -> str:
    machine = data["machine"]
    return (
        f"<footer><p>Made at {escape(data['created_at'])} in {data['seconds']:.0f} s on"
        f" {machine['cores']} cores, {escape(machine['system'])}, Python"
        f" {escape(machine['python'])}. Every picture of the program is labelled SYNTHETIC in its"
        " pixels and in its metadata.</p></footer>"
    )

"""The page of the activation dialog: what to show goes in, HTML comes out."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Eula:
    """The license agreement, and the digest of it that activation is told."""

    text: str
    digest: str


@dataclass(frozen=True)
class Refusal:
    """Why it did not work, what to do next, and what support asks for."""

    message: str
    next_step: str
    reference: str = ""


@dataclass(frozen=True)
class Asking:
    """Waiting for a license key; after a failed try with its refusal and the key as typed."""

    refusal: Refusal | None = None
    license_key: str = ""


@dataclass(frozen=True)
class Working:
    """Activation is on its way."""


@dataclass(frozen=True)
class Activated:
    """Done; `facts` are lines such as ("Plan", "pro")."""

    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Cancelled:
    """The person chose to do it later."""


State = Asking | Working | Activated | Cancelled

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--page:#f2f4f7;--card:#fff;
--line:#d5dbe3;--strong:#1f5fbf;--on:#fff;--bad:#a3241c;--bad-page:#fdeeec;--good:#1b7a3d}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#9aa6b5;--page:#12161c;
--card:#1b2129;--line:#333d49;--strong:#6ea8ff;--on:#0b1220;--bad:#ff9b92;--bad-page:#3a1b19;
--good:#6bd391}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;
background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{width:100%;max-width:34rem;background:var(--card);border:1px solid var(--line);
border-radius:14px;padding:clamp(1.1rem,5vw,2.2rem)}
h1{font-size:1.4rem;line-height:1.25;margin:0 0 .4rem}
p{margin:.4rem 0 1rem}
.soft{color:var(--soft)}
label.field{display:block;font-weight:600;margin:1.1rem 0 .35rem}
input[type=text]{width:100%;padding:.7rem .8rem;border:1px solid var(--line);border-radius:8px;
background:var(--page);color:inherit;font:1.02rem/1.3 ui-monospace,monospace;
text-transform:uppercase}
pre{white-space:pre-wrap;overflow-wrap:anywhere;max-height:11rem;overflow:auto;margin:0;
padding:.8rem;border:1px solid var(--line);border-radius:8px;background:var(--page);
font:.86rem/1.5 system-ui,sans-serif}
.accept{display:flex;gap:.6rem;align-items:flex-start;margin:1rem 0}
.accept input{width:1.15rem;height:1.15rem;margin:.2rem 0 0;flex:none}
.buttons{display:flex;flex-wrap:wrap;gap:.7rem;margin-top:1.2rem}
button{flex:1 1 9rem;padding:.75rem 1rem;border-radius:8px;border:1px solid var(--line);
background:transparent;color:inherit;font:600 1rem system-ui,sans-serif;cursor:pointer}
button.main{background:var(--strong);border-color:var(--strong);color:var(--on)}
:focus-visible{outline:3px solid var(--strong);outline-offset:2px}
.refusal{border-left:4px solid var(--bad);background:var(--bad-page);padding:.8rem 1rem;
border-radius:6px;margin:1rem 0;overflow-wrap:anywhere}
.refusal p{margin:.2rem 0}
.refusal strong{color:var(--bad)}
dl{display:grid;grid-template-columns:auto 1fr;gap:.35rem 1.2rem;margin:1rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.good{color:var(--good)}
"""


def render(state: State, *, product: str, eula: Eula, action: str, csrf: str, nonce: str) -> str:
    """The whole page for a state.

    Arguments: the product's name; the agreement; the path that forms are sent to; the token
    that proves a form is ours; the nonce that the content security policy allows styles by.
    """
    refresh = '<meta http-equiv="refresh" content="1">' if isinstance(state, Working) else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">{refresh}
<title>Activate {escape(product)}</title><style nonce="{escape(nonce)}">{STYLE}</style></head>
<body><main>{_body(state, product, eula, action, csrf)}</main></body></html>
"""


def _body(state: State, product: str, eula: Eula, action: str, csrf: str) -> str:
    name = escape(product)
    if isinstance(state, Working):
        return f"""<h1>Activating {name}</h1>
<p role="status">Asking the license server. This takes a few seconds.</p>"""
    if isinstance(state, Activated):
        rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in state.facts)
        return f"""<h1 class="good">{name} is activated</h1>
<p role="status">You can close this page and go on in the program.</p>
<dl>{rows}</dl>"""
    if isinstance(state, Cancelled):
        return f"""<h1>{name} is not activated</h1>
<p role="status">You can close this page, and activate when you start the program again.</p>"""
    return _form(state, name, eula, action, csrf)


def _form(state: Asking, name: str, eula: Eula, action: str, csrf: str) -> str:
    return f"""<h1>Activate {name}</h1>
<p class="soft">Enter the license key you received. This is done once on this computer.</p>
{_refusal(state.refusal)}
<form method="post" action="{escape(action)}" autocomplete="off">
<input type="hidden" name="csrf" value="{escape(csrf)}">
<label class="field" for="license_key">License key</label>
<input type="text" id="license_key" name="license_key" required maxlength="64" autofocus
 spellcheck="false" autocapitalize="characters" placeholder="MS-XXXXX-XXXXX-XXXXX-XXXXX"
 value="{escape(state.license_key)}">
<label class="field" id="agreement">License agreement</label>
<pre tabindex="0" aria-labelledby="agreement">{escape(eula.text)}</pre>
<label class="accept"><input type="checkbox" name="eula" value="{escape(eula.digest)}" required>
<span>I accept the license agreement.</span></label>
<div class="buttons"><button class="main" name="do" value="activate">Activate</button>
<button name="do" value="cancel" formnovalidate>Not now</button></div>
</form>"""


def _refusal(refusal: Refusal | None) -> str:
    if refusal is None:
        return ""
    reference = (
        f'<p class="soft">For support: <code>{escape(refusal.reference)}</code></p>'
        if refusal.reference
        else ""
    )
    return f"""<div class="refusal" role="alert"><p><strong>{escape(refusal.message)}</strong></p>
<p>{escape(refusal.next_step)}</p>{reference}</div>"""

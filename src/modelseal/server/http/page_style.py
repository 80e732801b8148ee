"""How the page for people looks: wide and narrow, light and dark."""

STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#dde2e8;--back:#fff;--pane:#f5f7f9;--link:#0b5cad;
--get:#0b6e4f;--post:#0b5cad;--put:#8a5300;--delete:#a3242b}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa6b5;--line:#2d3643;--back:#12161c;
--pane:#1a2029;--link:#79b8ff;--get:#4cc38a;--post:#79b8ff;--put:#e0a64a;--delete:#ff8b8b}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);
display:grid;grid-template-columns:15rem minmax(0,1fr)}
nav{position:sticky;top:0;align-self:start;max-height:100vh;overflow:auto;padding:1.2rem 1rem;
border-right:1px solid var(--line);height:100vh;background:var(--pane)}
nav summary{font-weight:600;margin-bottom:.6rem;cursor:pointer}
nav a{display:block;padding:.2rem 0;color:var(--ink);text-decoration:none}
nav a:hover{color:var(--link);text-decoration:underline}
main{padding:1.5rem 2.5rem 4rem;max-width:64rem}
ul{padding-left:1.3rem}
h1{font-size:1.7rem;margin:.2rem 0 1rem}
h2{font-size:1.3rem;margin:2.6rem 0 .2rem;padding-top:.4rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:0}
h4{font-size:.8rem;margin:1.1rem 0 .3rem;color:var(--soft);text-transform:uppercase;
letter-spacing:.04em}
a{color:var(--link)}
section>p{color:var(--soft);margin:.2rem 0 1rem}
code,pre{font:.875em/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{overflow-wrap:anywhere}
pre{margin:.4rem 0;padding:.7rem .9rem;background:var(--pane);border:1px solid var(--line);
border-radius:6px;overflow-x:auto}
.call{border:1px solid var(--line);border-radius:6px;margin:.45rem 0}
.call[open]{border-color:var(--soft)}
.call>summary{cursor:pointer;padding:.5rem .8rem;display:grid;gap:0 .7rem;align-items:baseline;
grid-template-columns:4rem minmax(0,1fr);list-style:none}
.call>summary::-webkit-details-marker{display:none}
.call>summary:hover{background:var(--pane)}
.call>summary i{font-style:normal;color:var(--soft)}
.call>summary span{grid-column:2;color:var(--soft);font-size:.92rem}
.call>summary span code{color:inherit}
.call>div{padding:.1rem .9rem .7rem;border-top:1px solid var(--line)}
summary b{font-size:.78rem;letter-spacing:.03em;color:var(--get)}
b.post{color:var(--post)}b.put,b.patch{color:var(--put)}b.delete{color:var(--delete)}
.call p{margin:.35rem 0}.need,.id{color:var(--soft);font-size:.9rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.93rem}
td{padding:.35rem .9rem .35rem 0;border-top:1px solid var(--line);vertical-align:top}
tr:first-child td{border-top:0}
td:first-child code{white-space:nowrap}
article{margin:1rem 0;padding:.8rem 1rem;border:1px solid var(--line);border-radius:6px}
article p{margin:.3rem 0 .5rem}
:target{outline:2px solid var(--link);outline-offset:3px}
@media(max-width:52rem){body{display:block}
nav{position:static;height:auto;max-height:none;border-right:0;border-bottom:1px solid var(--line);
padding:.7rem 1rem}
nav details{columns:2;column-gap:1rem}nav summary{column-span:all}
main{padding:1rem 1rem 3rem}
.call>summary{grid-template-columns:3.4rem minmax(0,1fr);gap:0 .4rem;padding:.5rem .6rem}
td{padding-right:.6rem}}
"""

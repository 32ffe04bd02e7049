/** The report's style sheet: one accent, the reader's colour scheme, no assets. */
export const style = `
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1f2933;--soft:#66727f;--line:#e3e0d8;--track:#eceae3;--accent:#2b7a78;--whisker:#17252a;--wrong:#b4532a;
--s0:#2b7a78;--s1:#c4703a;--s2:#5b6fb5;--s3:#a1518f;--s4:#7a8b2c;--s5:#55606b}
@media (prefers-color-scheme:dark){:root{--paper:#14181c;--card:#1c2227;--ink:#e6e9ec;--soft:#98a3ad;--line:#2d353c;--track:#2a3238;--accent:#55b3ae;--whisker:#f2f5f7;--wrong:#e08a5f;
--s0:#55b3ae;--s1:#e39a66;--s2:#8fa2e8;--s3:#d38ac4;--s4:#b3c25c;--s5:#a4afb9}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;-webkit-font-smoothing:antialiased}
main{max-width:1000px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.02em;margin:0 0 6px}
h2{font-size:20px;letter-spacing:-.01em;margin:0}
header p{margin:0;color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:22px 24px;margin-top:22px;box-shadow:0 1px 2px rgb(0 0 0/.04)}
section>p{margin:4px 0 14px;color:var(--soft);max-width:75ch}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:14px 24px;margin:22px 0 0}
dt{font-size:12px;color:var(--soft)}
dd{margin:0;font-weight:550;overflow-wrap:anywhere}
.hint{color:var(--soft);font-size:12px;font-weight:400}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:550}
.values{width:100%}
.values thead th{padding-right:12px;font-size:12px;color:var(--soft);font-weight:500;padding-bottom:6px}
.values td,.values tbody th{padding:5px 12px 5px 0;border-top:1px solid var(--line);vertical-align:middle}
.values .part th{padding-left:18px;font-weight:400}
.values th .hint{margin-left:6px}
th.number,.number{text-align:right;white-space:nowrap}
.strong{font-weight:650}
.plot{width:34%;padding-right:0!important}
.bar{display:block;width:100%;height:22px}
.track{fill:var(--track)}.fill{fill:var(--accent);opacity:.85}
.whisker{stroke:var(--whisker);stroke-width:1.6;fill:none}
figure{margin:20px 0 0}
figcaption{font-weight:550;margin-bottom:8px}
figcaption .hint{margin-left:6px}
.scroll{overflow-x:auto}
.confusion td,.confusion th,.heat td,.heat th{padding:9px 16px;border:1px solid var(--line)}
.confusion thead th,.heat thead th{font-size:12.5px;font-weight:550}
.confusion thead td,.heat thead td{border:0}
.confusion td b,.heat td b{display:block;font-size:17px}
.confusion .right b{color:var(--accent)}.confusion .wrong b{color:var(--wrong)}
.confusion .hint,.heat .hint{display:block}
.heat{width:100%;table-layout:fixed;min-width:620px}.heat th{font-size:13px;padding:9px 8px;overflow-wrap:anywhere}.values .hint{white-space:nowrap}
.heat td{text-align:center;background:color-mix(in srgb,var(--accent) var(--tint),transparent)}
.heat td .hint{color:inherit;opacity:.75}
.lines{display:block;width:100%;min-width:480px;height:auto}
.lines polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}
.lines text{font-size:11px;fill:var(--soft)}.lines .label{font-size:12px}
.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.s4{stroke:var(--s4)}.s5{stroke:var(--s5)}
circle{fill:var(--card);stroke-width:2}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 0 6px}
.legend span{display:inline-flex;align-items:center;gap:7px;font-size:13px}
.legend span::before{content:"";width:16px;height:3px;border-radius:2px;background:var(--s0)}
.legend .s1::before{background:var(--s1)}.legend .s2::before{background:var(--s2)}.legend .s3::before{background:var(--s3)}.legend .s4::before{background:var(--s4)}.legend .s5::before{background:var(--s5)}
details{margin-top:18px}summary{cursor:pointer;font-weight:550}
.exchange{border-left:3px solid var(--accent);padding:2px 0 2px 14px;margin:14px 0}
.exchange p{margin:4px 0;white-space:pre-wrap;overflow-wrap:anywhere}
.exchange p:first-child{font-weight:550}
footer{margin-top:26px;color:var(--soft);font-size:13px}
@media (max-width:640px){.plot{display:none}main{padding:24px 14px}section{padding:18px 16px}}
@media print{section{break-inside:avoid;box-shadow:none}}
`;

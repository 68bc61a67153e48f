# SPDX-License-Identifier: BSD-2-Clause
"""What report and report-tools share: reading logs, tables, charts, filling in the page."""
import os
import re
import sys


def read(logs, name):
    try:
        with open(os.path.join(logs, name), encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def splits(logs, name):
    """The plugin's lines: a list of {counter: value}."""
    return [{k: int(v) for k, v in (pair.split("=") for pair in line.split()[1:])}
            for line in read(logs, name + ".split").split("\n") if line.startswith("SPLIT")]


def operations(logs, name):
    """{operation: instructions each, by who: total, u, k, x; events}."""
    found = re.findall(r"LAT (\w+) (\d+) ", read(logs, name + ".log"))
    counts = splits(logs, name)
    if len(found) != len(counts):
        return {}
    return {op: {k: v / int(n) for k, v in c.items()} for (op, n), c in zip(found, counts)}


def number(value):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(number(c) for c in row) + " |" for row in rows])


def bars(title, names, colours, groups):
    """Horizontal bars, a group for each [label, value...]; the longest fills the width."""
    top = max((v for _, *values in groups for v in values if v), default=0)
    if not top:
        return None
    step, left, width = 13, 190, 440
    height = step * len(names) + 8
    bottom = 34 + len(groups) * height
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{bottom + 36}"'
           ' font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="20" y="18">{title}</text>']
    for i, (label, *values) in enumerate(groups):
        y = 34 + i * height
        out.append(f'<text x="{left - 8}" y="{y + height / 2}" text-anchor="end">{label}</text>')
        for j, (value, colour) in enumerate(zip(values, colours)):
            if value is None:
                continue
            out.append(f'<rect x="{left}" y="{y + j * step}" width="{value * width / top:.1f}" '
                       f'height="{step - 1}" fill="{colour}"/>'
                       f'<text x="{left + value * width / top + 4:.1f}" y="{y + j * step + 10}" '
                       f'font-size="10">{number(value)}</text>')
    for j, (name, colour) in enumerate(zip(names, colours)):
        x = 20 + 170 * j
        out.append(f'<rect x="{x}" y="{bottom + 14}" width="12" height="12" fill="{colour}"/>'
                   f'<text x="{x + 18}" y="{bottom + 24}">{name}</text>')
    return "\n".join(out + ["</svg>", ""])


def fill(docs, parts, charts):
    """Write the parts into their places in DOCS/performance.md, the charts beside it."""
    path = os.path.join(docs, "performance.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for name, body in parts.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.S)
        if not mark.search(text):
            sys.exit(f"report: {path} has no place for {name}")
        text = mark.sub(lambda m, b=body: m[1] + b + "\n" + m[2], text)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    for name, svg in charts.items():
        if svg:
            with open(os.path.join(docs, name + ".svg"), "w", encoding="utf-8") as f:
                f.write(svg)

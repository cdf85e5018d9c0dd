#!/usr/bin/env python3
"""Makes docs/terminal.svg again: a sweep over examples/demo in a terminal of tmux, drawn as it stands there.

    docs/terminal.py [PROGRAM]

PROGRAM is the binary, `target/release/reproduce-flaky` without it. Needs tmux, and nothing from PyPI.
"""

import html
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

COLUMNS, ROWS = 100, 48
SWEEP = "reproduce-flaky -i host -e 30 -j 2 --silence 12s -- tests -k 'sync or bindings'"
TMUX = ["tmux", "-L", "reproduce-flaky-picture", "-f", "/dev/null"]

INK, PAPER = "#d8dee9", "#1b2028"
COLORS = ["#3b4252", "#e06c75", "#8cc265", "#e5b567", "#61afef", "#c678dd", "#56b6c2", "#d8dee9"]
WIDTH, HEIGHT, MARGIN = 8.4, 18, 14


def screen(program):
    """What the terminal shows when the sweep has ended, with its escapes."""
    root = pathlib.Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(root / "examples" / "demo", f"{place}/demo")
        pathlib.Path(place, "bin").mkdir()
        pathlib.Path(place, "bin", "reproduce-flaky").symlink_to(pathlib.Path(program).resolve())
        # The prompt is printed by hand, so that no shell's own settings show.
        line = (
            f"clear; printf '$ %s\\n' {shlex.quote(SWEEP)}; PATH={place}/bin:$PATH {SWEEP}; "
            "tmux wait-for -S ended; sleep 60"
        )
        run = lambda *words: subprocess.run([*TMUX, *words], check=True, capture_output=True, text=True).stdout
        run("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", f"{place}/demo", "sh", "-c", line)
        try:
            run("wait-for", "ended")
            return run("capture-pane", "-e", "-p")
        finally:
            run("kill-server")


def spans(line):
    """The pieces of a line of one look each: color, bold, dim, text."""
    color, bold, dim = INK, False, False
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        codes = re.fullmatch(r"\x1b\[([0-9;]*)m", piece)
        if not codes:
            if piece:
                yield color, bold, dim, piece
            continue
        for code in [int(code or 0) for code in codes[1].split(";")]:
            if code == 0:
                color, bold, dim = INK, False, False
            elif code == 1:
                bold = True
            elif code == 2:
                dim = True
            elif code == 22:
                bold = dim = False
            elif 30 <= code <= 37 or 90 <= code <= 97:
                color = COLORS[code % 10]
            elif code == 39:
                color = INK


def picture(text):
    """The screen as SVG: one text element a line, each piece at its own column."""
    lines = text.rstrip().split("\n")
    width = round(COLUMNS * WIDTH + 2 * MARGIN)
    height = len(lines) * HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14">',
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>',
    ]
    for row, line in enumerate(lines):
        column = 0
        baseline = MARGIN + row * HEIGHT + 13
        for color, bold, dim, piece in spans(line):
            if piece.strip():
                look = ' font-weight="bold"' if bold else ""
                look += ' opacity="0.6"' if dim else ""
                parts.append(
                    f'<text x="{MARGIN + column * WIDTH:.1f}" y="{baseline}" fill="{color}"{look} xml:space="preserve" '
                    f'textLength="{len(piece) * WIDTH:.1f}">{html.escape(piece)}</text>'
                )
            column += len(piece)
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    root = pathlib.Path(__file__).resolve().parent
    program = sys.argv[1] if len(sys.argv) > 1 else root.parent / "target/release/reproduce-flaky"
    (root / "terminal.svg").write_text(picture(screen(program)))

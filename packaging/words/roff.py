# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Markdown, as docs/ has it, in the language of man pages."""

import datetime
import os
import re
import textwrap


def escape(text):
    return text.replace("\\", "\\e")


def inline(text):
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    out = ""
    for i, part in enumerate(re.split(r"`([^`]*)`", text)):
        part = escape(part.replace("\\|", "|").replace("\\<", "<"))
        out += rf"\fB{part.replace('-', chr(92) + '-')}\fR" if i % 2 else re.sub(r"\*+([^*\s][^*]*)\*+", r"\\fI\1\\fR", part)
    return out


def lines(text):
    """Filled text: short lines, none of which looks like a request."""
    for line in textwrap.wrap(" ".join(text.split()), 76, break_long_words=False, break_on_hyphens=False):
        yield (rf"\&{line}" if line[0] in ".'" else line) + "\n"


def verbatim(text):
    yield ".PP\n.EX\n"
    for line in text.rstrip().splitlines():
        line = escape(line)
        yield (rf"\&{line}" if line[:1] in (".", "'") else line) + "\n"
    yield ".EE\n"


def tagged(tag, text):
    yield from (".TP\n", rf"\&{tag}" + "\n")
    yield from lines(text) if text.strip() else [".br\n"]


def head(name, section, description):
    day = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")) or datetime.datetime.now().timestamp(),
                                          datetime.timezone.utc)
    short = escape(description.rstrip(".").replace("`", ""))
    first = "\n".join(textwrap.wrap(f"{name} \\- {short}", 76))
    return f'.TH {name.upper()} {section} "{day:%Y-%m-%d}" libiommufd\n.SH NAME\n{first}\n'


def finish(page):
    """A heading begins a paragraph by itself."""
    return re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", "".join(page), flags=re.M)


def _row(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def markdown(text):
    """The body of a page; its first heading is left out."""
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.S)
    source = text.splitlines()
    i = 0
    while i < len(source):
        line = source[i]
        if line.startswith("```"):
            end = next((j for j in range(i + 1, len(source)) if source[j].startswith("```")), len(source))
            yield from verbatim("\n".join(source[i + 1:end]))
            i = end + 1
        elif match := re.match(r"(#+) (.*)", line):
            if len(match[1]) == 2:
                yield f".SH {escape(match[2]).upper()}\n"
            elif len(match[1]) > 2:
                yield f".SS {escape(match[2])}\n"
            i += 1
        elif line.startswith("    "):
            end = next((j for j in range(i, len(source)) if source[j].strip() and not source[j].startswith("    ")), len(source))
            yield from verbatim(textwrap.dedent("\n".join(source[i:end])))
            i = end
        elif line.startswith("|"):
            end = next((j for j in range(i, len(source)) if not source[j].startswith("|")), len(source))
            for row in source[i + 2:end]:
                cells = _row(row)
                yield from tagged(inline(cells[0]) or "-", inline("; ".join(cell for cell in cells[1:] if cell)))
            i = end
        elif not line.strip():
            i += 1
        else:
            end = next((j for j in range(i + 1, len(source))
                        if not source[j].strip() or re.match(r"(```|#|\||- |: )", source[j])), len(source))
            paragraph = " ".join(source[i:end])
            if end < len(source) and source[end].startswith(": "):
                stop = next((j for j in range(end, len(source)) if not source[j].strip()), len(source))
                yield from tagged(inline(paragraph), inline(" ".join(source[end:stop])[2:]))
                end = stop
            elif paragraph.startswith("- "):
                yield from (".IP \\(bu 2\n", *lines(inline(paragraph[2:])))
            else:
                yield from (".PP\n", *lines(inline(paragraph)))
            i = end

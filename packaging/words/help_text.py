# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The command's tree of commands and options, as its own help tells it."""

import dataclasses
import re
import subprocess


@dataclasses.dataclass
class Option:
    names: list  # ["-h", "--help"]; of a positional argument its name
    value: str  # "BDF"; "" for a flag
    choices: list
    text: str


@dataclasses.dataclass
class Command:
    name: str  # "" for the command itself
    text: str
    usage: str
    positionals: list
    options: list
    footer: str


def _option(left, text):
    names, _, kind = left.partition(" ")
    choices = re.search(r"\{([^}]*)\}", kind)
    value = re.match(r"[A-Z|]*", kind)[0]
    return Option(names.split(","), value, choices[1].split(",") if choices else [], text)


def _rows(block):
    """Two columns; a left one that is too long has a line of its own."""
    rows = []
    for line in block.splitlines():
        if re.match(r" {20,}\S", line):
            rows[-1][1] = (rows[-1][1] + " " + line.strip()).strip()
        elif match := re.match(r"  (\S.*?)(?: {2,}(.*))?$", line):
            rows.append([match[1], match[2] or ""])
    return rows


def _read_one(program, name):
    words = [program, *([name] if name else []), "--help"]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    blocks = re.split(r"^(Positionals|Options|Subcommands):\n", text, flags=re.M)
    head, sections = blocks[0], dict(zip(blocks[1::2], blocks[2::2]))
    description, _, usage = head.partition("\nUsage: ")
    last = blocks[-1]
    footer = last.split("\n\n", 1)[1].strip() if "\n\n" in last else ""
    columns = {kind: _rows(block.split("\n\n", 1)[0]) for kind, block in sections.items()}
    command = Command(
        name, description.strip(), usage.strip(), [_option(*row) for row in columns.get("Positionals", [])],
        [_option(*row) for row in columns.get("Options", [])], footer)
    return command, [row[0] for row in columns.get("Subcommands", [])]


def read(program):
    """The command itself first, then its subcommands."""
    root, names = _read_one(program, "")
    return [root, *(_read_one(program, name)[0] for name in names)]

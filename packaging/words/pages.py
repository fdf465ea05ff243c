# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The man pages: 1 and 8 the command, 3 the C API, 5 and 7 from docs/."""

import re

import roff

# Those that move devices between drivers, which only an administrator may.
SECTION_8 = {"bind", "unbind", "serve"}


def page_of(command):
    return (f"iommufd-{command.name}" if command.name else "iommufd"), (8 if command.name in SECTION_8 else 1)


def _options(title, options):
    if options:
        yield f".SH {title}\n"
    for option in options:
        names = ", ".join(rf"\fB{name.replace('-', chr(92) + '-')}\fR" for name in option.names)
        value = rf" \fI{option.value}\fR" if option.value else ""
        choices = f" One of: {', '.join(option.choices)}." if option.choices else ""
        yield from roff.tagged(names + value, roff.inline(option.text + choices))


def _section_of(reference, name):
    """What docs/reference.md says of a command."""
    for block in re.split(r"^## ", reference, flags=re.M)[1:]:
        title, _, text = block.partition("\n")
        if name in title.split(", "):
            return text
    return ""


def command_page(command, commands, reference):
    name, section = page_of(command)
    yield roff.head(name, section, command.text)
    yield ".SH SYNOPSIS\n" + "".join(roff.lines(roff.escape(command.usage)))
    yield ".SH DESCRIPTION\n"
    if command.name:
        yield from roff.markdown(_section_of(reference, command.name) or command.text)
    else:
        yield from roff.lines("One owner for /dev/iommu: gives devices to VFIO and back, shows who has them, starts programs "
                              "without privileges, and holds address spaces and devices.")
        yield ".SH COMMANDS\n"
        for other in commands[1:]:
            page, number = page_of(other)
            yield from roff.tagged(rf"\fB{roff.escape(page)}\fR({number})", roff.inline(other.text))
    yield from _options("ARGUMENTS", command.positionals)
    yield from _options("OPTIONS", command.options)
    if command.footer:
        yield ".SH NOTES\n"
        for paragraph in command.footer.split("\n\n"):
            yield from (".PP\n", *roff.lines(roff.inline(paragraph)))
    yield from _see_also([("iommufd", 1), ("iommufd", 7), ("iommufd-errors", 7), ("iommufd-objects", 7), ("iommufd-broker", 5),
                         ("iommufd-machine", 5)],
                         (name, section))


def _see_also(pages, but):
    yield ".SH SEE ALSO\n"
    yield from roff.lines(", ".join(rf"\fB{name}\fR({section})" for name, section in pages if (name, section) != but))


def _comment(text):
    text = re.sub(r"^\s*/\*+ ?|\s*\*+/\s*$|^ ?\* ?", "", text, flags=re.M)
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def header_pages(path):
    """A page of a header: its concept, then each declaration with what stands above it; and a link for each function."""
    text = path.read_text()
    opening = re.findall(r"/\*.*?\*/", text, flags=re.S)[1]
    words = _comment(opening)
    name = f"iommufd_{path.stem}"
    yield f"{name}.3", roff.finish((
        roff.head(name, 3, words.split(":")[0].split(".")[0].strip().replace("\n", " ")),
        f".SH SYNOPSIS\n.EX\n#include <iommufd/capi/{path.name}>\n.EE\n.SH DESCRIPTION\n",
        *roff.markdown(re.sub(r"^(\w+) {2,}", r"\1: ", words, flags=re.M)),
        ".SH DECLARATIONS\n", *_declarations(text.split("\n#include", 1)[-1]),
        *_see_also([("iommufd_error", 3), ("iommufd", 7), ("iommufd-errors", 7)], (name, 3))))
    for function in re.findall(r"IOMMUFD_C_API[^;(]*?(iommufd_\w+)\(", text):
        if function != name:
            yield f"{function}.3", f".so man3/{name}.3\n"


def _declarations(text):
    for comment, code in re.findall(
            r"(/\*(?:[^*]|\*(?!/))*\*/\n)?((?:IOMMUFD_C_API[^;]*;\n)+|(?:struct|enum) \w+ \{\n.*?\n\};\n)", text, flags=re.S):
        yield from roff.verbatim(code.replace("IOMMUFD_C_API ", ""))
        if comment:
            yield from (".PP\n", *roff.lines(roff.inline(_comment(comment))))


def document_page(name, section, description, text):
    yield roff.head(name, section, description)
    yield ".SH DESCRIPTION\n"
    yield from roff.markdown(text)
    yield from _see_also([("iommufd", 1), ("iommufd", 7), ("iommufd_error", 3)], (name, section))


def all_pages(commands, tree):
    docs = tree / "docs"
    reference = (docs / "reference.md").read_text()
    for command in commands:
        name, section = page_of(command)
        yield f"{name}.{section}", roff.finish(command_page(command, commands, reference))
    for header in sorted((tree / "include/iommufd/capi").glob("*.h")):
        yield from header_pages(header)
    overview = (docs / "design.md").read_text().split("\n## The object\n")[1].split("\n## ")[0]
    for name, section, description, text in (
            ("iommufd", 7, "the iommufd object, its users and address spaces", overview),
            ("iommufd-objects", 7, "types and properties of objects and devices", (docs / "objects.md").read_text()),
            ("iommufd-errors", 7, "what an errno of an operation means, and what to do", (docs / "errors.md").read_text()),
            ("iommufd-broker", 5, "whom the broker gives what, and its protocol", (docs / "broker.md").read_text()),
            ("iommufd-machine", 5, "descriptions of machines for the model kernel", (docs / "model.md").read_text())):
        yield f"{name}.{section}", roff.finish(document_page(name, section, description, text))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The kernel's own selftests of iommufd, unmodified, on the model: selftests.py IOMMUFD SOURCE_TREE BUILD_TREE [--update].

They are built from the source of the VM's kernel. Their results must be those of docs/selftests.md; --update runs it in the VM
as well and writes that page. Exit status 77: they can't be built here, or 2 MiB pages can't be reserved.
"""
import contextlib
import os
import pathlib
import re
import subprocess
import sys

HUGE_PAGES = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
WANTED_PAGES = 200
PROGRAMS = ("iommufd", "iommufd_fail_nth")
ROW = re.compile(r"^\| `(\S+)` \| (\w+) \| (\w+) \|$")
RESULT = re.compile(r"^(not ok|ok) \d+ (\S+)(.*)$", re.MULTILINE)
HEAD = """# The kernel's selftests on the model

Made by `tests/intercept/selftests.py`: `tools/testing/selftests/iommu/iommufd` of Linux {version}, unmodified, by
`iommufd model --machine mock=on`, and on that kernel in the VM. With 200 reserved pages of 2 MiB on both.

{summary}

What fails on Linux does so by its `DMABUF_GET` ([deviations](deviations.md)); what is skipped is the variant without a viommu.
`fork_gone` passes on the model as root only. In `basic_fail_nth` each allocation of the kernel fails in turn; on the model, each that the
supervisor makes for the program.

| test | model | Linux |
| --- | --- | --- |
"""


def skip(why):
    print(why)
    sys.exit(77)


@contextlib.contextmanager
def huge_pages():
    before = HUGE_PAGES.read_text() if HUGE_PAGES.exists() else skip("this machine has no 2 MiB pages")
    try:
        if int(before) < WANTED_PAGES:
            HUGE_PAGES.write_text(str(WANTED_PAGES))
        if int(HUGE_PAGES.read_text()) < WANTED_PAGES:
            skip("so many 2 MiB pages can't be reserved")
        yield
    except PermissionError:
        skip("only root can reserve 2 MiB pages")
    finally:
        with contextlib.suppress(PermissionError):
            HUGE_PAGES.write_text(before)


def build(source_tree, build_tree):
    kernel = pathlib.Path(subprocess.run([source_tree / "vm/kernel", "new"], check=True, stdout=subprocess.PIPE,
                                         text=True).stdout.strip())
    tests = kernel / "source/tools/testing/selftests"
    programs = []
    for name in PROGRAMS:
        programs.append(build_tree / f"tests/kernel_selftest_{name}")
        made = subprocess.run(["cc", "-O1", "-w", "-D_GNU_SOURCE", f"-I{tests}", f"-I{kernel}/headers/include",
                               f"-I{kernel}/source/include/uapi", f"-I{kernel}/source/tools/include", "-o", programs[-1],
                               tests / f"iommu/{name}.c", "-lcap"], stderr=subprocess.PIPE, text=True)
        if made.returncode != 0:
            skip("they can't be built: " + (made.stderr.splitlines() or ["?"])[0])
    return programs, (kernel / "version").read_text().strip()


def results(command, programs):
    said = "".join(subprocess.run([*command, "--", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                  timeout=400).stdout for program in programs)
    return {name: "skipped" if "SKIP" in rest else "passes" if word == "ok" else "fails"
            for word, name, rest in RESULT.findall(said)}


def counts(found):
    return ", ".join(f"{list(found.values()).count(word)} {what}" for word, what in
                     (("passes", "pass"), ("fails", "fail"), ("skipped", "are skipped")))


def main():
    iommufd, source_tree, build_tree = (pathlib.Path(word).resolve() for word in sys.argv[1:4])
    page = source_tree / "docs/selftests.md"
    programs, version = build(source_tree, build_tree)
    with huge_pages():
        model = results([iommufd, "model", "--machine", "mock=on"], programs)
    if "--update" in sys.argv:
        linux = results([source_tree / "vm/run", "--give", " ", "--memory", "2G", "--append",
                         f"hugepages={WANTED_PAGES}"], programs)
        summary = f"Of {len(model)}, on the model {counts(model)}; on Linux {counts(linux)}."
        page.write_text(HEAD.format(version=version, summary=summary) +
                        "".join(f"| `{name}` | {model[name]} | {linux.get(name, 'absent')} |\n" for name in model))
        return 0
    listed = {match[1]: match[2] for match in map(ROW.match, page.read_text().splitlines()) if match}
    different = [f"{name}: {model.get(name, 'absent')}, listed as {listed.get(name, 'absent')}"
                 for name in sorted(model.keys() | listed.keys()) if model.get(name) != listed.get(name)]
    print("\n".join(different) or f"{len(model)} tests, as listed: {counts(model)}")
    return 1 if different or not model else 0


sys.exit(main())

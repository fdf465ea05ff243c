# SPDX-License-Identifier: Apache-2.0 OR MIT
"""docs/performance.md: what was measured, beside what was aimed at."""

SIZES = (16, 256, 4096, 65536, 1000000)
FINDERS = {"Ours": "libiommufd", "StdMap": "std::map", "Btree": "absl::btree_map", "Glib": "GLib's GTree"}
CHURN = {"Ours": "libiommufd", "Lowest": "libiommufd, always the lowest", "StdMap": "std::map, first fit",
         "Bump": "a bump allocator with free lists"}
# Of pages in a thousand.
DENSITIES = {0: "0 %", 1: "0.1 %", 10: "1 %", 100: "10 %", 500: "50 %"}
SCANS = {"Best": "libiommufd", "Avx512": "libiommufd with AVX-512", "Avx2": "libiommufd with AVX2",
         "Portable": "libiommufd without either", "Ctz": "a loop of ctz over words", "Plain": "a loop over bits"}
BESIDE = {"Spinner": "a thread that spins", "Stranger": "one that maps and unmaps in another space",
          "Writer": "one that maps and unmaps in the reader's space"}
PAUSES = (0, 2, 10, 50)
SUPERVISED = {"option": "IOMMU_OPTION", "register_read": "a register read", "map": "a page mapped", "unmap": "and unmapped"}
BATCH = 100  # bench/hand_over.cpp has it


def table(head, lines):
    head, lines = list(head), [list(line) for line in lines]
    rule = "| --- |" + " ---: |" * (len(head) - 1)
    return "\n".join(["| " + " | ".join(head) + " |", rule] + ["| " + " | ".join(line) + " |" for line in lines])


def times(figure, base):
    ratio = figure / base
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def with_times(figure, base):
    return f"{figure:,.1f}" if figure is base else f"{figure:,.1f} ({times(figure, base)})"


def translations(found, kind, direction, more=()):
    """`more`: a line each, {size: figure}, after ours."""
    lines = []
    for structure, name in FINDERS.items():
        lines.append([name] + [f"{found[f'{kind}<{structure}, {direction}, Random>/{size}']:.1f}" for size in SIZES])
        if structure == "Ours":
            lines += [[label] + [f"{found[name_of(size)]:.1f}" for size in SIZES] for label, name_of in more]
    return table(["mappings"] + [f"{size:,}" for size in SIZES], lines)


def guarded(kind, direction):
    return "libiommufd, a guard for each", lambda size: f"{kind}<OursGuarded, {direction}, Random>/{size}"


def patterns(found):
    columns = [("forward, by Zipf's law", "throughput", "Forward, Zipf"), ("back", "throughput", "Back, Zipf"),
               ("forward, in a row", "throughput", "Forward, Sequential"), ("back", "throughput", "Back, Sequential"),
               ("across two mappings", "throughput", "Crossing, Random")]
    sizes = (4096, 1000000)
    head = ["order"] + [f"{name}, {size:,}" for name, *_ in columns for size in sizes]
    return table(head, [[name] + [f"{found[f'{kind}<{structure}, {how}>/{size}']:.1f}" for _, kind, how in columns for size in sizes]
                        for structure, name in FINDERS.items()])


def cold(found):
    lines = [[name] + [f"{found[f'throughput<{structure}, {direction}, Cold>/1000000']:.1f}" for direction in ("Forward", "Back")]
             for structure, name in FINDERS.items()]
    lines.insert(1, ["libiommufd, 64 at once", f"{found['batch<Cold>/1000000']:.1f}", ""])
    return table(["1,000,000 mappings", "IOVA to pointer", "pointer to IOVA"], lines)


def churn(found):
    live = (100, 1000, 10000, 100000)
    return table(["live ranges"] + [f"{count:,}" for count in live],
                 [[name] + [with_times(found[f"churn<{kind}>/{count}"], found[f"churn<Ours>/{count}"]) for count in live]
                  for kind, name in CHURN.items()])


def buffers(found):
    sizes = (64, 512, 4096, 65536, 1048576)
    return table(["bytes"] + [f"{size:,}" for size in sizes],
                 [[name] + [with_times(found[f"buffers<{kind}>/{size}"], found[f"buffers<PoolBuffers>/{size}"]) for size in sizes]
                  for kind, name in {"PoolBuffers": "dma::Pool", "Malloc": "aligned_alloc"}.items()])


def scans(found):
    return table(["dirty"] + list(DENSITIES.values()),
                 [[name] + [f"{found[f'runs<{kind}>/{density}'] / 1e6:.1f}" for density in DENSITIES]
                  for kind, name in SCANS.items() if f"runs<{kind}>/0" in found])


def beside(found, other, pause):
    return found[f"reader_beside<{other}>/{pause}/real_time"]


def readers(found):
    return table(["beside"] + [f"{pause} us" for pause in PAUSES],
                 [[name] + [f"{beside(found, other, pause):.2f}" for pause in PAUSES] for other, name in BESIDE.items()])


def in_vm(vm, test):
    return [figure for figure in vm["ours"] if figure["test"] == test]


def mapped_in_vm(vm):
    return table(["", "through a space", "the two ioctls", "more"],
                 [[figure["what"], f"{figure['value'] / 1000:.1f}", f"{figure['yardstick']['value'] / 1000:.1f}",
                   f"{(figure['value'] / figure['yardstick']['value'] - 1) * 100:.0f} %"] for figure in in_vm(vm, "map")])


def brought_up(vm):
    return table(["", "until devices reach it", "its yardstick", ""],
                 [[figure["what"], f"{figure['value']:,.0f}", f"{figure['yardstick']['value']:,.0f}", figure["yardstick"]["what"]]
                  for figure in in_vm(vm, "bringup")] +
                 [[f"QEMU, {name}", f"{value:,.0f}", "", ""] for name, value in vm["qemu"].items()])


WAYS = {"broker": "`iommufd serve`", "bare, opening": "bare, the nodes opened for each", "bare": "bare, of what is open already"}
KERNELS = {"model": "the model, on this machine", "linux": "Linux, in the VM"}


def handed_over(found):
    kinds = [kind for kind in ("iommufd", "iommufd and device") if kind in found]
    return table([KERNELS[found["kernel"]]] + [f"{kind}, {share}" for kind in kinds for share in ("half within", "99 % within")],
                 [[name] + [f"{found[kind][way][share]:,.0f}" for kind in kinds for share in ("p50", "p99")]
                  for way, name in WAYS.items()])


def supervised(found):
    names = {"bare": "the least supervisor", "not_the_models": "a path that is not the model's", **SUPERVISED}
    return table(["", "half of the batches", "the fastest", "to the least supervisor's"],
                 [[name, f"{found[call]['median']:.1f}", f"{found[call]['fastest']:.1f}",
                   times(found[call]["fastest"], found["bare"]["fastest"])] for call, name in names.items()])


def moved_for_programs(found):
    """A device's blocks of a program's memory, and memcpy's."""
    lines = [["memcpy"] + [f"{found[f'memcpy_{block}']['fastest'] * 1000:,.0f}" for block in (4096, 65536)]]
    for kind in ("shared", "private"):
        for way, verb in WAYS_OF_DMA.items():
            cells = []
            for block in (4096, 65536):
                took, memcpy = (found[name]["fastest"] for name in (f"{kind}_{way}_{block}", f"memcpy_{block}"))
                cells.append(f"{took * 1000:,.0f} ({memcpy / took * 100:.0f} % of memcpy)")
            lines.append([f"a device {verb} {kind} memory"] + cells)
    return table(["in nanoseconds, the fastest batches", "4 KiB", "64 KiB"], lines)


NEAR, FAR = 64 << 10, 256 << 20  # bench/model.cpp has them
BLOCKS = {64: "64 bytes", 4096: "4 KiB", 65536: "64 KiB"}
WAYS_OF_DMA = {"read": "reads", "write": "writes"}


def modelled_dma(model):
    """A device's blocks, and memcpy's, by where they lie."""
    return table(["in nanoseconds"] + [f"{size} of {whole}" for whole in ("64 KiB", "256 MiB") for size in BLOCKS.values()],
                 [[f"{who} {verb}"] + [f"{model[f'{name}_{way}/{block}/{size}']:,.1f}" for size in (NEAR, FAR) for block in BLOCKS]
                  for way, verb in WAYS_OF_DMA.items() for name, who in (("dma", "a device"), ("memcpy", "memcpy"))])


def modelled_maps(model):
    return table(["nanoseconds a page", "1 page a call", "512", "65,536"],
                 [[who] + [f"{model[f'{name}/{pages}']:,.1f}" for pages in (1, 512, 65536)]
                  for name, who in (("map", "the model's page table"), ("map_std_map", "std::map"))])


def figure_of(vm, what):
    return next(figure["value"] for figure in vm["ours"] if figure["what"] == what)


def in_parallel(vm):
    """Two threads to one, by kind of memory."""
    kinds = [figure["what"].removesuffix(", 1 thread") for figure in in_vm(vm, "bringup") if figure["what"].endswith(", 1 thread")]
    return {kind: figure_of(vm, f"{kind}, 2 threads") / figure_of(vm, f"{kind}, 1 thread") for kind in kinds}


def beside_qemu(vm):
    """How often ours goes into QEMU's best time, for the same memory."""
    pairs = {"prealloc-threads=2": "anonymous, transparent huge pages, 2 threads",
             "a shared memfd, prealloc-threads=2": "memfd, 4 KiB pages, by file, 2 threads"}
    return {theirs: vm["qemu"][theirs] / figure_of(vm, ours) for theirs, ours in pairs.items() if theirs in vm["qemu"]}


def commits(figures):
    """That of most parts, and those that were measured at another."""
    of = figures["commits"]
    most = max(of.values(), key=list(of.values()).count)
    others = [f"{part} of {commit}" for part, commit in of.items() if commit != most]
    return f"commit {most}" + (f" ({', '.join(others)})" if others else "")


def goals(figures):
    translate, mapping, alloc, dirty = (figures[name] for name in ("translate", "map", "alloc", "dirty"))

    def of(structure, direction, size, pattern="Random"):
        return translate[f"throughput<{structure}, {direction}, Random>/{size}"]

    lines = []

    def goal(what, target, value, met, unit="", digits=1):
        lines.append([what, target, f"{value:.{digits}f}{unit}", "met" if met else "missed"])

    def most(what, value, limit, unit, digits=1):
        goal(what, f"at most {limit:g}{unit}", value, value <= limit, unit, digits)

    def least(what, value, limit):
        goal(what, f"at least {limit:g}x", value, value >= limit, "x", 1)

    for size, limit in ((4096, 2), (1000000, 5)):
        most(f"IOVA to pointer, {size:,} mappings, 65,536 addresses", of("Ours", "Forward", size), limit, " ns")
    most("the same, 1,048,576 addresses", of("Ours", "Forward", 1000000, "Cold"), 5, " ns")
    most("the same, asked for 64 at once", translate["batch<Cold>/1000000"], 5, " ns")
    for size, limit in ((4096, 4), (1000000, 10)):
        most(f"pointer to IOVA to IOVA to pointer, {size:,} mappings", of("Ours", "Back", size) / of("Ours", "Forward", size), 1.5, "x")
        least(f"std::map to libiommufd, {size:,} mappings", of("StdMap", "Forward", size) / of("Ours", "Forward", size), limit)
    most("a guard, 4,096 mappings", of("OursGuarded", "Forward", 4096) - of("Ours", "Forward", 4096), 1, " ns")
    for pause in PAUSES:
        less = (1 - beside(figures["readers"], "Spinner", pause) / beside(figures["readers"], "Writer", pause)) * 100
        goal(f"a reader's loss beside a writer of its space, {pause} us between its pairs", "less than 10 %", less, less < 10, " %", 0)
    most("core's calls over the ioctls, each", (mapping["core"] - mapping["raw"]) / 2, 50, " ns")
    most("a space's calls over the ioctls, each", (mapping["space/0"] - mapping["raw"]) / 2, 50, " ns", 0)
    size = next(iter(figures["vm"]))
    for found in in_vm(figures["vm"][size], "map"):
        more = (found["value"] / found["yardstick"]["value"] - 1) * 100
        most(f"the same on Linux, {found['what']}", more, 2, " %", 0)
    most("an IOVA from a thread's cache, taken and given back", alloc["cached/1"], 20, " ns")
    most("the same beside 100,000 live ranges", alloc["churn<Ours>/100000"], 150, " ns", 0)
    for size, vm in figures["vm"].items():
        for kind, ratio in in_parallel(vm).items():
            most(f"{size} brought up by two threads to one, {kind}", ratio, 0.65, "x", 2)
        for theirs, ratio in beside_qemu(vm).items():
            goal(f"QEMU to libiommufd, {size}, {theirs}", "more than 1x", ratio, ratio > 1, "x", 1)
    for found in figures["hand_over"]:
        for kind in ("iommufd", "iommufd and device"):
            most(f"a hand-over of {kind} to a bare exchange, 99 % of them, {KERNELS[found['kernel']]}",
                 found[kind]["broker"]["p99"] / found[kind]["bare"]["p99"], 2, "x")
    for call, name in SUPERVISED.items():
        most(f"a program's call under `iommufd model`, {name}", figures["supervise"][call]["median"], 8, " us")
    model = figures["model"]
    for way, verb in WAYS_OF_DMA.items():
        for size, where in ((NEAR, "64 KiB"), (FAR, "256 MiB")):
            for block in (4096, 65536):
                rate = model[f"memcpy_{way}/{block}/{size}"] / model[f"dma_{way}/{block}/{size}"] * 100
                goal(f"a modelled device {verb} {BLOCKS[block]} of {where}, to memcpy", "at least 90 %", rate, rate >= 90, " %", 0)
    most("a page mapped in the model's page table", model["map/1"], 60, " ns")
    most("the same, a page of 512", model["map/512"], 1.5, " ns")
    most("32 MiB of bits, none set", dirty["runs<Best>/0"] / 1e6, 1, " ms")
    most("32 MiB of bits, 1 % set", dirty["runs<Best>/10"] / 1e6, 10, " ms")
    return table(["", "aimed at", "measured", ""], lines)


def text(figures):
    machine, translate, mapping, alloc, dirty = (figures[name] for name in ("machine", "translate", "map", "alloc", "dirty"))
    sections = [f"""# Performance

Made by `bench/report`: medians of 7 runs (of the model's DMA of 41, in the VM of 3), in which what is compared is measured by turns. {machine["cpu"]},
{machine["compiler"]}, {commits(figures)}.
Figures of another machine differ; `iommufd bench` measures yours, and the ratios are what `./test.sh` looks at.

## Aims

{goals(figures)}

What is missed, and why: [further down](#what-is-missed).

## Translation

![Nanoseconds by the number of mappings](performance/translate.svg)

Nanoseconds for each look-up of one of 65,536 random addresses. The ordered maps find the range at or before an address, as
programs use them for it; each structure is checked against std::map before it is timed.

IOVA to pointer:

{translations(translate, "throughput", "Forward", more=[guarded("throughput", "Forward"),
                                                         ("libiommufd, 64 at once", lambda size: f"batch<Random>/{size}")])}

Pointer to IOVA:

{translations(translate, "throughput", "Back", more=[guarded("throughput", "Back")])}

IOVA to pointer where each address depends on the answer before:

{translations(translate, "chain", "Forward", more=[guarded("chain", "Forward")])}

Pointer to IOVA, likewise:

{translations(translate, "chain", "Back", more=[guarded("chain", "Back")])}

Other orders: the n-th most wanted 1/n as often as the first; one page after the other; half of the 64 bytes in one mapping and half in
the next, which come back as two pieces:

{patterns(translate)}

1,048,576 different addresses, so that what one look-up reads is in no cache when the next one needs it:

{cold(translate)}
""", f"""## Readers beside a writer

Nanoseconds for a guard and a look-up among 4,096 mappings, while another thread of the same core is busy; the writer waits so long
between a pair of map and unmap, on a kernel that takes no time. The two threads are one core's: what the writer's instructions take
from the reader shows in the second line, which shares nothing with it.

{readers(figures["readers"])}
""", f"""## What the library adds to map and unmap

On a kernel that does nothing: {mapping["raw"]:.1f} ns for the two bare calls, {mapping["core"]:.1f} ns by `core::Ioas`, {mapping["space/0"]:.0f} ns
through a `dma::Space`, {mapping["space/1000"]:.0f} ns beside 1,000 mappings and {mapping["space/100000"]:.0f} ns beside 100,000. Where the
space chooses the IOVA: {mapping["chosen/0"]:.0f} ns, {mapping["chosen/1000"]:.0f} ns and {mapping["chosen/100000"]:.0f} ns.
"""]
    for size, vm in figures["vm"].items():
        sections.append(f"""## On Linux: {size} in a VM of two processors

Map and unmap, in microseconds, in turns with the bare ioctls:

{mapped_in_vm(vm)}

From nothing to memory that an NVMe controller reaches, in milliseconds; QEMU's is the time of the whole process, less that of one with
16 MiB. The yardstick of a new mapping is to clear the pages and to free them: nothing can be faster.

{brought_up(vm)}
""")
    sections.append("![Milliseconds until devices reach the memory](performance/bring_up.svg)\n")
    on_model, on_linux = figures["hand_over"]
    sections.append(f"""## Hand-over

Microseconds until a client of the broker that is alone has what it asked for, from its connect() on: its socket looked at, who it is
asked of the kernel, the policy, a message in JSON each way, an iommufd opened and its accounting set, a device that was tried looked at
once more and opened. That is twenty kernel calls where the bare process has five, which shows in the half that nothing else delays.
Beside it a process that sends as many descriptors for one byte, to whoever connects. Each is a process of its own, of real-time priority,
they take turns, and the 99 % are the median of batches of {BATCH}.

{handed_over(on_model)}

{handed_over(on_linux)}

{on_model["many"]["clients"]:,} clients that have connected ask at the same time: the last has its iommufd after
{on_model["many"]["broker"] / 1000:,.0f} ms on the model and {on_linux["many"]["broker"] / 1000:,.0f} ms in the VM, from the bare process, which opens one for
each, after {on_model["many"]["bare, opening"] / 1000:,.0f} and {on_linux["many"]["bare, opening"] / 1000:,.0f} ms.
""")
    model = figures["model"]
    sections.append(f"""## The model kernel

A device's DMA through its page table, beside memcpy of the same blocks at random places, of memory that fits the first cache and of some
that fits none:

{modelled_dma(model)}

What is mapped, in pages of 4 KiB each, beside a std::map with an entry for each:

{modelled_maps(model)}
""")
    sections.append(f"""## IOVA allocation

Nanoseconds to give one range back and to choose another one: at random places, of one to 32 pages, some of up to 2 MiB. In brackets,
how many times ours. That the lowest is the lowest is checked against std::map before it is timed.

{churn(alloc)}

A bump allocator can't give back what it has for another size, nor take what is mapped elsewhere. Through a thread's IovaCache, beside
100,000 live ranges: {alloc["cached/1"]:.1f} ns, of 256 by turns {alloc["cached/256"]:.1f} ns; 10,000 taken and then given back,
{alloc["cached_in_bulk"]:.0f} ns each.

A buffer of a pool in place of another, one of 256, in nanoseconds:

{buffers(alloc)}

## Calls under `iommufd model`

Microseconds of a program's call that the supervisor answers, and of one that it leaves to the kernel. Beside it one that stops for the
least supervisor there can be, which takes it and answers 0.

{supervised(figures["supervise"])}

A modelled device's DMA to the memory of such a program: a memfd that it made, which the supervisor maps too, and private memory, which
it reaches through /proc/PID/mem.

{moved_for_programs(figures["supervise"])}

## Runs of dirty pages

Milliseconds for a bitmap of 32 MiB on huge pages, which stands for 1 TiB of pages of 4 KiB, of which so many are dirty at random. To read as much
memory and add it up takes {dirty["memory"] / 1e6:.1f} ms.

{scans(dirty)}

![Milliseconds by the share of dirty pages](performance/dirty.svg)

## What is missed

- A million mappings take 16 MB of tables, more than a core's own caches hold. Where the addresses that a program asks for are as many,
  each look-up waits for the memory behind them, {translate["chain<Ours, Forward, Random>/1000000"]:.0f} ns where there is but one under way;
  the processor has several under way by itself, and more where they are asked for 64 at once (`Guard::translate_each`).
- A space's map and unmap do what the two ioctls don't: they reserve the range in the interval map, publish it to readers both ways,
  and wait for the readers before the memory goes: 2,500 instructions for the pair, four locks and one allocation among them. Fewer
  moves, fewer wake-ups and no joined stores took it from 300 to 190 ns; link-time optimization would take another 15 %. A VM without
  hardware's help executes each of them ten times slower, so its share shows there at small sizes. `core::Ioas` has none of this
  and costs a few nanoseconds.
- To look at 32 MiB of bits is to read 32 MiB of memory, beside which the search costs nothing: where this machine reads slower than
  32 GB/s, a millisecond is not enough. Pages read ahead by the program, from several places at once, or past the caches are no sooner
  there; on huge pages they are, and that is what is measured.
- Pages of a file: to clear them alone, without mapping them for a device, doesn't take two threads less of one's time either.
- A hand-over with a device on the model: to open a device, and to look at its file, is made up there, of a memfd and of copies; Linux
  takes less.
- A reader loses to a writer that never pauses little more than to one of another space: they are threads of one core. A kernel's map
  and unmap take tens of microseconds.
""")
    return "\n".join(sections)

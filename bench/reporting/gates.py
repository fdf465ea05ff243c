# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the tests demand: ratios of one run, with room for a noisy machine."""

from .measure import benchmark, hand_over, supervise


class Gates:
    def __init__(self):
        self.missed = []

    def demand(self, what, value, least):
        print(f"{what}: {value:.2f} (at least {least})")
        if value < least:
            self.missed.append(what)


def check(build):
    """The exit status."""
    gates = Gates()
    for judge in (translation, readers, mapping, allocation, dirty, modelling, handing_over, supervising):
        judge(gates, build)
    return bool(gates.missed)


def translation(gates, build):
    found = benchmark(build / "bench/bench_translate",
                      "(throughput<(Ours|OursGuarded|StdMap), (Forward|Back), Random>/(4096|1000000)"
                      "|(throughput<Ours, Forward, Cold>|batch<Cold>)/1000000)$", 0.02, 5)

    def of(structure, direction, size):
        return found[f"throughput<{structure}, {direction}, Random>/{size}"]

    for size, least in ((4096, 4), (1000000, 10)):
        for direction in ("Forward", "Back"):
            gates.demand(f"times faster than std::map, {size} mappings, {direction.lower()}",
                         of("StdMap", direction, size) / of("Ours", direction, size), least)
        gates.demand(f"forward to back, {size} mappings", of("Ours", "Forward", size) / of("Ours", "Back", size), 0.4)
    gates.demand("without to with a guard for each, 4096 mappings",
                 of("Ours", "Forward", 4096) / of("OursGuarded", "Forward", 4096), 0.3)
    gates.demand("times faster where 64 are asked for at once, 1000000 mappings that no cache holds",
                 found["throughput<Ours, Forward, Cold>/1000000"] / found["batch<Cold>/1000000"], 1.1)


def readers(gates, build):
    found = benchmark(build / "bench/bench_readers", "<(Stranger|Writer)>/10/", 0.1, 7)
    gates.demand("a reader beside a writer of another space to beside one of its own",
                 found["reader_beside<Stranger>/10/real_time"] / found["reader_beside<Writer>/10/real_time"], 0.7)


def mapping(gates, build):
    found = benchmark(build / "bench/bench_map", "space/(0|100000)$", 0.05, 5)
    gates.demand("map and unmap in an empty space to beside 100000 mappings", found["space/0"] / found["space/100000"], 0.3)


def allocation(gates, build):
    found = benchmark(build / "bench/bench_alloc",
                      "churn<(Ours|Lowest|StdMap)>/100000$|cached/1$|buffers<.*>/(64|4096)$", 0.02, 5)
    for kind, name, least in (("Ours", "", 100), ("Lowest", ", always the lowest", 20)):
        gates.demand(f"times faster than a first fit over std::map, 100000 live ranges{name}",
                     found["churn<StdMap>/100000"] / found[f"churn<{kind}>/100000"], least)
    gates.demand("times faster from a thread's cache than the tree", found["churn<Lowest>/100000"] / found["cached/1"], 4)
    for size in (64, 4096):
        gates.demand(f"malloc to a pool, {size} bytes", found[f"buffers<Malloc>/{size}"] / found[f"buffers<PoolBuffers>/{size}"],
                     0.3)


def dirty(gates, build):
    found = benchmark(build / "bench/bench_dirty", "runs<(Best|Ctz|Plain)>/(0|10)$|memory", 0.05, 5)
    gates.demand("reading memory to a scan of a clean bitmap", found["memory"] / found["runs<Best>/0"], 0.3)
    gates.demand("times faster than a loop over bits, clean", found["runs<Plain>/0"] / found["runs<Best>/0"], 30)
    gates.demand("times faster than a loop of ctz, 1 % dirty", found["runs<Ctz>/10"] / found["runs<Best>/10"], 1.2)


def modelling(gates, build):
    found = benchmark(build / "bench/bench_model", "(dma|memcpy)_(read|write)/4096/|map(_std_map)?/512$", 0.05, 5)
    for way in ("read", "write"):
        gates.demand(f"memcpy to a modelled device that {way}s 4 KiB",
                     found[f"memcpy_{way}/4096/65536"] / found[f"dma_{way}/4096/65536"], 0.5)
    gates.demand("times faster than a std::map, 512 pages in the model's page table",
                 found["map_std_map/512"] / found["map/512"], 20)


def handing_over(gates, build):
    found = hand_over(build / "bench/bench_hand_over", 3, 1000)
    gates.demand("a bare exchange to a hand-over of an iommufd, half of them", found["iommufd"]["bare"]["p50"] /
                 found["iommufd"]["broker"]["p50"], 0.1)


def supervising(gates, build):
    found = supervise(build / "bench/bench_supervise", 3)
    for call in ("option", "register_read", "map", "unmap"):
        gates.demand(f"the least supervisor's call to `iommufd model`'s, {call}",
                     found["bare"]["fastest"] / found[call]["fastest"], 0.05)

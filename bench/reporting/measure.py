# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the benchmark programs print, as figures by name."""

import json
import pathlib
import re
import subprocess
import sys


IN_NS = {"ns": 1, "us": 1e3, "ms": 1e6}


def benchmark(program, only, seconds, repetitions):
    """Nanoseconds for each item by name: the median. What is compared is measured by turns."""
    output = subprocess.run(
        [program, f"--benchmark_filter={only}", f"--benchmark_min_time={seconds}", "--benchmark_format=json",
         f"--benchmark_repetitions={repetitions}", "--benchmark_report_aggregates_only=true",
         "--benchmark_enable_random_interleaving=true"],
        capture_output=True, text=True, check=True).stdout
    found = {}
    for run in json.loads(output)["benchmarks"]:
        if run["aggregate_name"] == "median":
            rate = run.get("items_per_second")
            found[run["run_name"]] = 1e9 / rate if rate else run["cpu_time"] * IN_NS[run["time_unit"]]
    return found


def in_vm(root, build, size):
    """See bench/bring_up."""
    output = subprocess.run(
        [root / "vm/run", "--memory", "6G", "--timeout", "900", "--give", "nvme,igb", "--",
         root / "bench/bring_up", (build / "src/cli/iommufd").resolve(), size],
        stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(output[output.index("{"):])


def hand_over(program, batches, clients, vm=()):
    """See bench/hand_over.cpp."""
    output = subprocess.run([*vm, program.resolve(), str(batches), str(clients), *(["0000:00:10.0"] if vm else [])],
                            stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(output[output.index("{"):])


def supervise(program, rounds):
    """See bench/supervise.cpp."""
    output = subprocess.run([program.resolve(), str(rounds)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(output)


def machine(root):
    def line(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]

    return {"cpu": re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))[1],
            "compiler": line("g++", "--version"),
            "commit": line("git", "-C", str(root), "rev-parse", "--short", "HEAD")}


# Program: seconds for each figure, and how often; more where a few percent decide.
PROGRAMS = {"translate": (0.03, 7), "map": (0.1, 7), "readers": (0.2, 7), "alloc": (0.03, 7), "dirty": (0.05, 7),
            "model": (0.05, 41)}


def everything(root, build, vm_memory, figures, keep):
    """Adds what is not among the figures yet, with the commit that it is of, and calls keep() after each part."""
    here = machine(root)
    figures.setdefault("machine", here)

    def part(what, name, among, measure):
        if name in among:
            return
        print(f"{what}...", file=sys.stderr)
        among[name] = measure()
        figures.setdefault("commits", {})[what] = here["commit"]
        keep()

    for name, how in PROGRAMS.items():
        part(name, name, figures, lambda: benchmark(build / f"bench/bench_{name}", ".", *how))  # noqa: B023
    vm = [root / "vm/run", "--timeout", "600", "--give", "edu", "--"]
    part("hand_over", "hand_over", figures, lambda: [hand_over(build / "bench/bench_hand_over", 20, 1000),
                                                     hand_over(build / "bench/bench_hand_over", 5, 1000, vm)])
    part("supervise", "supervise", figures, lambda: supervise(build / "bench/bench_supervise", 20))
    for size in vm_memory.split(","):
        part(f"{size} in the VM", size, figures.setdefault("vm", {}), lambda: in_vm(root, build, size))  # noqa: B023

# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The plots of docs/performance.md, as SVG."""

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "libiommufd", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
                            "axes.spines.top": False, "axes.spines.right": False})

from matplotlib import pyplot  # noqa: E402  (after the choice of a backend)

from .page import DENSITIES, FINDERS, SCANS, SIZES, in_vm  # noqa: E402


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw(figures, folder):
    folder.mkdir(exist_ok=True)
    save(translate(figures["translate"]), folder / "translate.svg")
    save(dirty(figures["dirty"]), folder / "dirty.svg")
    save(bring_up(figures["vm"]), folder / "bring_up.svg")


def translate(found):
    figure, both = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axes, direction, title in zip(both, ("Forward", "Back"), ("IOVA to pointer", "pointer to IOVA")):
        for structure, name in FINDERS.items():
            axes.plot(SIZES, [found[f"throughput<{structure}, {direction}, Random>/{size}"] for size in SIZES], marker="o",
                      linewidth=2 if structure == "Ours" else 1, label=name)
        axes.set(xscale="log", yscale="log", xlabel="mappings", title=title)
    both[0].set_ylabel("ns a look-up")
    both[0].legend(frameon=False)
    return figure


def dirty(found):
    figure, axes = pyplot.subplots(figsize=(6, 3.4))
    for kind, name in SCANS.items():
        if f"runs<{kind}>/0" in found:
            axes.plot(list(DENSITIES.values()), [found[f"runs<{kind}>/{density}"] / 1e6 for density in DENSITIES], marker="o",
                      linewidth=2 if kind == "Best" else 1, label=name)
    axes.set(yscale="log", xlabel="dirty pages", ylabel="ms for 32 MiB of bits")
    axes.legend(frameon=False)
    return figure


def bring_up(vms):
    figure, each = pyplot.subplots(1, len(vms), figsize=(9, 3.4), squeeze=False)
    for axes, (size, vm) in zip(each[0], vms.items()):
        bars = {figure["what"]: figure["value"] for figure in in_vm(vm, "bringup") if "thread" in figure["what"]}
        ours = len(bars)
        bars |= {f"QEMU, {name}": value for name, value in vm["qemu"].items()}
        axes.barh(list(bars), list(bars.values()), color=["C0"] * ours + ["C1"] * (len(bars) - ours))
        axes.invert_yaxis()
        axes.set(xlabel="ms until devices reach it", title=size)
        if axes is not each[0][0]:
            axes.set_yticklabels([])
    return figure

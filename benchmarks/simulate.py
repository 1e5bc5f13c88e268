"""Step time and efficiency for 2 to 1,024 ranks, from a cost model that is fitted on measured links.

    sudo python -m benchmarks.shaped > shaped.json
    python -m benchmarks.simulate --fit shaped.json --plot scaling.png

Prints one JSON line: each fitted link, how far the model is off where it was not fitted (fitted on all numbers of
ranks but one, asked for that one), the efficiency of a given work by number of ranks, and what the same formula says
for Horovod's published figures (90 % for ResNet-101, 68 % for VGG-16 on 512 GPUs: Sergeev and Del Balso 2018).
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cost_model import Link, Work, allreduce_s, efficiency, fit_link

RANKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

# Batch 64 per Pascal GPU. Gradient sizes are those of the models; the compute times, the overlap and the jitter are
# assumptions. One 25 Gbit/s card serves the 4 GPUs of a host, and a hierarchical ring crosses it once per host.
GPUS_PER_HOST = 4
RDMA_25G = Link(10e-6, 25e9 / 8)
PUBLISHED = {
    "resnet101": (Work(0.43, 178e6, overlap=0.5, jitter=0.03), 0.90),
    "vgg16": (Work(0.35, 553e6, overlap=0.5, jitter=0.03), 0.68),
}

Measured = Sequence[tuple[int, float, float]]
"""(ranks, bytes, seconds) of one allreduce each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=Path, required=True, help="the line of benchmarks.shaped")
    parser.add_argument("--plot", type=Path, help="also draw the curves to this PNG file")
    parser.add_argument("--compute-ms", type=float, default=100.0)
    parser.add_argument("--gradient-mb", type=float, default=0.9)
    parser.add_argument("--overlap", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.05)
    arguments = parser.parse_args()
    work = Work(
        arguments.compute_ms / 1e3, arguments.gradient_mb * 1e6, overlap=arguments.overlap, jitter=arguments.jitter
    )
    measured = by_speed(json.loads(arguments.fit.read_text()))
    links = {mbit: fit_link(points) for mbit, points in measured.items()}
    fitted = {
        str(mbit): {
            "latency_ms": round(link.latency_s * 1e3, 3),
            "mb_per_s": round(link.bytes_per_s / 1e6, 2),
            "held_out_error": round(held_out_error(measured[mbit]), 3),
            "efficiency": {str(ranks): round(efficiency(ranks, work, link), 3) for ranks in RANKS},
        }
        for mbit, link in links.items()
    }
    published = {
        name: {"published": figure, "model": round(efficiency(512 // GPUS_PER_HOST, load, RDMA_25G), 3)}
        for name, (load, figure) in PUBLISHED.items()
    }
    if arguments.plot:
        draw(arguments.plot, measured, links, work)
    print(json.dumps({"benchmark": "simulate", "mbit_per_s": fitted, "at_512_gpus": published}))


def by_speed(line: Mapping[str, Any]) -> dict[int, Measured]:
    """Measured reductions by the speed of the link in Mbit/s."""
    speeds = sorted({link["mbit_per_s"] for link in line["links"]}, reverse=True)
    return {
        mbit: [
            (link["ranks"], size["bytes"], size["ms"] / 1e3)
            for link in line["links"]
            if link["mbit_per_s"] == mbit
            for size in link["sizes"]
        ]
        for mbit in speeds
    }


def held_out_error(measured: Measured) -> float:
    """Median relative error for each number of ranks, from a fit on the others."""
    errors = []
    for left_out in {ranks for ranks, _, _ in measured}:
        link = fit_link([point for point in measured if point[0] != left_out])
        errors += [
            abs(allreduce_s(ranks, size, link) / seconds - 1) for ranks, size, seconds in measured if ranks == left_out
        ]
    return statistics.median(errors)


def draw(path: Path, measured: Mapping[int, Measured], links: Mapping[int, Link], work: Work) -> None:
    """Left: measured reductions and the fit; right: efficiency by number of ranks, with the published figures."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for mbit, marker in zip(measured, "os", strict=False):
        for number, ranks in enumerate(sorted({point[0] for point in measured[mbit]})):
            points = [(size / 1e6, seconds * 1e3) for count, size, seconds in measured[mbit] if count == ranks]
            sizes = [size for size, _ in points]
            model = [allreduce_s(ranks, size * 1e6, links[mbit]) * 1e3 for size in sizes]
            colour = f"C{number}"
            left.plot(
                sizes, [spent for _, spent in points], marker, color=colour, label=f"{ranks} ranks, {mbit} Mbit/s"
            )
            left.plot(sizes, model, "-" if marker == "o" else "--", color=colour, linewidth=1)
    left.set(xscale="log", yscale="log", xlabel="size (MB)", ylabel="allreduce (ms)", title="Measured, and the fit")
    left.legend(fontsize=7)
    for mbit, link in links.items():
        curve = [efficiency(ranks, work, link) for ranks in RANKS]
        right.plot(
            RANKS, curve, label=f"{work.compute_s * 1e3:g} ms step, {work.gradient_bytes / 1e6:g} MB, {mbit} Mbit/s"
        )
    for number, (name, (load, published)) in enumerate(PUBLISHED.items(), len(links)):
        counts = [count for count in RANKS if count >= 2 * GPUS_PER_HOST]
        curve = [efficiency(count // GPUS_PER_HOST, load, RDMA_25G) for count in counts]
        right.plot(counts, curve, color=f"C{number}", label=f"{name}, 25 Gbit/s, 4 GPUs a host")
        right.plot([512], [published], "*", color=f"C{number}", markersize=12, label=f"{name}, published")
    right.set(xscale="log", ylim=(0, 1.02), xlabel="ranks", ylabel="efficiency", title="Efficiency by the model")
    right.set_xticks(RANKS, [str(ranks) for ranks in RANKS])
    right.minorticks_off()
    right.legend(fontsize=7, loc="lower left")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

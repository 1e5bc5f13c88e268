"""Step time and efficiency for 2 to 1,024 ranks, from the cost model.

    python -m benchmarks.allreduce > line.json
    python -m benchmarks.simulate --fit line.json --compute-ms 10 --gradient-mb 0.9

Prints one JSON line: the fitted link, the efficiency of the given work by number of ranks, and
where Horovod's published figures (90 % for ResNet-101, 68 % for VGG-16 on 512 GPUs, 25 Gbit/s
RDMA, 4 GPUs a host) lie beside what the formula says for that network with assumed compute times.
"""

import argparse
import json
from pathlib import Path

from benchmarks.cost_model import Link, Work, efficiency, fit_link

RANKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

# Batch 64 per Pascal GPU; compute times are assumptions, gradient sizes those of the models.
# One 25 Gbit/s card serves the 4 GPUs of a host, and a hierarchical ring crosses it once per host.
PUBLISHED = {
    "resnet101": (Work(0.43, 178e6, overlap=0.5, jitter=0.03), 0.90),
    "vgg16": (Work(0.35, 553e6, overlap=0.5, jitter=0.03), 0.68),
}
RDMA_25G = Link(10e-6, 25e9 / 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=Path, required=True, help="lines of benchmarks.allreduce")
    parser.add_argument("--compute-ms", type=float, default=10.0)
    parser.add_argument("--gradient-mb", type=float, default=0.9)
    parser.add_argument("--overlap", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.05)
    arguments = parser.parse_args()
    lines = [json.loads(line) for line in arguments.fit.read_text().splitlines() if line.strip()]
    measured = [(ln["ranks"], s["bytes"], s["ms"] / 1e3) for ln in lines for s in ln["sizes"]]
    link = fit_link(measured)
    work = Work(
        arguments.compute_ms / 1e3,
        arguments.gradient_mb * 1e6,
        overlap=arguments.overlap,
        jitter=arguments.jitter,
    )
    published = {
        name: {"published": figure, "model": round(efficiency(128, load, RDMA_25G), 3)}
        for name, (load, figure) in PUBLISHED.items()
    }
    line = {
        "benchmark": "simulate",
        "latency_ms": round(link.latency_s * 1e3, 3),
        "gb_per_s": round(link.bytes_per_s / 1e9, 3),
        "efficiency": {str(n): round(efficiency(n, work, link), 3) for n in RANKS},
        "at_512_gpus": published,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()

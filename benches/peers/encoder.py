"""Training beside PyTorch, inference beside ONNX Runtime: the same net, in one run.

    python3 benches/peers/encoder.py

The net is the bundled one: 48 x 48 grey, 3 x 3 space to depth, six 3 x 3 convolutions (64, 64,
96, 96, 128, 128) with batch norm and ReLU, 2 x 2 max pooling after every second, a linear layer
to 64, unit length. Training: SupCon, AdamW, batch 256, two threads. Inference: one thread.

Contestants take turns, and what is told is the median of the rounds' ratios with the least
and the greatest: whatever else the machine does, it does to both.

The peers come from PyPI into a virtual environment below target/; TWINDEX_PEERS_PYTHON names
another interpreter that has them. Where they cannot be had, it says SKIPPED and ends with 0.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["torch==2.4.1", "numpy<2.3", "onnxruntime", "onnx"]
ROUNDS = 7
THREADS = 2
BATCH = 256
SIDE, FOLD, WIDTHS, DIM = 48, 3, [64, 96, 128], 64
NET = ["s2d-s", SIDE, FOLD, WIDTHS, DIM]
SECONDS = 1.0


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(0)


def with_peers():
    """Runs this script again where the peers are installed."""
    python = os.environ.get("TWINDEX_PEERS_PYTHON")
    if not python:
        home = ROOT / "target" / "peers"
        python = str(home / "bin" / "python")
        if not (home / "installed").exists():
            print(f"installing {', '.join(PACKAGES)} into {home}", flush=True)
            try:
                subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
                install = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
                subprocess.run(install, check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                skip(f"the peers cannot be installed: {error}")
            (home / "installed").touch()
    # What picks kernels for one library must not pick them for another.
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    environment["TWINDEX_PEERS"] = "here"
    try:
        done = subprocess.run([python, __file__], env=environment)
    except OSError as error:
        skip(f"{python}: {error}")
    sys.exit(done.returncode)


def rate(images, work):
    """Images a second: the best of a few rounds of equal length, as our bench counts."""
    work()
    best = 0.0
    for _ in range(5):
        begun, rounds = time.perf_counter(), 0
        while time.perf_counter() - begun < SECONDS / 2.5:
            work()
            rounds += 1
        best = max(best, rounds * images / (time.perf_counter() - begun))
    return best


def ours(*arguments):
    command = ["cargo", "bench", "--quiet", "--bench", "encoder", "--", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["net"] == NET, f"bundled is {told['net']}, the peers' net {NET}"
    return told["images_per_second"]


def net():
    from torch import nn

    layers, channels = [nn.PixelUnshuffle(FOLD)], FOLD * FOLD
    for width in WIDTHS:
        for _ in range(2):
            convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * (SIDE // FOLD // 8) ** 2, DIM))


def training():
    import torch
    from torch.nn import functional

    torch.manual_seed(7)
    torch.set_num_threads(THREADS)
    model = net().to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images = torch.rand(BATCH, 1, SIDE, SIDE).to(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) // 4
    itself = torch.eye(BATCH, dtype=torch.bool)
    mates = (labels[:, None] == labels[None]) & ~itself

    def step():
        z = functional.normalize(model(images), dim=1)
        similar = (z @ z.T / 0.1).masked_fill(itself, -1e9)
        logs = similar - torch.logsumexp(similar, 1, keepdim=True)
        loss = -(logs * mates).sum(1).div(mates.sum(1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def inference(batch):
    import numpy
    import onnxruntime
    import torch
    from torch.nn import functional

    class Unit(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            return functional.normalize(self.net(x), dim=1)

    file = ROOT / "target" / f"peer-{batch}.onnx"
    model, example = Unit().eval(), torch.rand(batch, 1, SIDE, SIDE)
    torch.onnx.export(model, example, str(file), input_names=["x"], output_names=["y"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(file), options, providers=providers)
    images = numpy.random.rand(batch, 1, SIDE, SIDE).astype("f4")
    return lambda: session.run(None, {"x": images})


def main():
    import onnxruntime
    import torch

    torch_name = f"PyTorch {torch.__version__}"
    ort_name = f"ONNX Runtime {onnxruntime.__version__}"
    contests = [
        (f"train, batch {BATCH}, {THREADS} threads", ("train", THREADS), torch_name, training(), BATCH),
        ("infer, batch 64, 1 thread", ("infer", 64), ort_name, inference(64), 64),
        ("infer, batch 1, 1 thread", ("infer", 1), ort_name, inference(1), 1),
    ]
    print("building our bench", flush=True)
    ours("infer", 1)
    print(f"{'images a second':32} {'peer':24} {'ours':>8} {'peer':>8}  ratio (of {ROUNDS} rounds)")
    for name, arguments, peer, work, images in contests:
        rounds = [(ours(*arguments), rate(images, work)) for _ in range(ROUNDS)]
        ratios = sorted(a / b for a, b in rounds)
        a, b = (statistics.median(side) for side in zip(*rounds))
        middle = statistics.median(ratios)
        spread = f"{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{name:32} {peer:24} {a:8.0f} {b:8.0f}  {spread}", flush=True)


if __name__ == "__main__":
    if os.environ.get("TWINDEX_PEERS") != "here":
        with_peers()
    try:
        import numpy, onnx, onnxruntime, torch  # noqa: E401, F401
    except ImportError as error:
        skip(f"{sys.executable} lacks a peer: {error}")
    main()

"""Train the embedded MNIST classifier and store it.

    python -m benchmarks.train_classifier --data=mnist32-train.zip --test=mnist32-test.zip --out=mnist32-classifier.npz

Cross-entropy with AdamW, a one-cycle learning rate and random shifts of up to two pixels. The accuracy that is printed
is that of the stored float16 weights on the test set, which training never sees.
"""

from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.training_data import load_zip
from dnnlib_compat.networks.mnist_classifier import MnistClassifier, load_mnist_classifier
from dnnlib_compat.util import atomic_output


def to_float(images):
    return torch.from_numpy(images).float() / 127.5 - 1


def shifted(images, generator, reach=2):
    """Each image moved by its own random offset of up to `reach` pixels; black comes in from outside."""
    n, _, h, w = images.shape
    padded = F.pad(images, [reach] * 4, value=-1)
    dy, dx = torch.randint(0, 2 * reach + 1, (2, n, 1, 1), generator=generator)
    rows, cols = torch.arange(h)[None, :, None] + dy, torch.arange(w)[None, None, :] + dx
    return padded[torch.arange(n)[:, None, None], 0, rows, cols].unsqueeze(1)


@torch.no_grad()
def accuracy(network, images, labels):
    guesses = torch.cat([network(to_float(part)).argmax(dim=1) for part in np.array_split(images, 20)])
    return (guesses.numpy() == labels).mean()


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True), required=True, help="training zip")
@click.option("--test", type=click.Path(exists=True), required=True, help="held-out zip")
@click.option("--out", type=Path, required=True)
@click.option("--epochs", type=int, default=8, show_default=True)
@click.option("--batch", type=int, default=128, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(data, test, out, epochs, batch, seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    (images, labels), (test_images, test_labels) = load_zip(data), load_zip(test)
    targets = torch.from_numpy(labels)
    network = MnistClassifier()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    steps = len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * steps)
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for index in order[: steps * batch].split(batch):
            loss = F.cross_entropy(network(shifted(to_float(images[index.numpy()]), generator)), targets[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: {100 * accuracy(network, test_images, test_labels):.2f} %", flush=True)
    arrays = {name: tensor.numpy().astype(np.float16) for name, tensor in network.state_dict().items()}
    with atomic_output(out) as tmp, open(tmp, "wb") as file:
        np.savez_compressed(file, **arrays)
    stored = accuracy(load_mnist_classifier(out), test_images, test_labels)
    print(f"{out}: {100 * stored:.2f} % of {len(test_labels)} held-out images, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()

"""A torch training loop: watched gradients, metrics by batch and by epoch, checkpoints saved as they are written.

python train_torch.py
"""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

import lineart


def main() -> None:
    """Train a small network on 8x8 digits."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    train, test = slice(0, 1400), slice(1400, None)

    with lineart.init(project="torch", config={"lr": 0.01, "epochs": 4, "batch": 100}) as run:
        # Epochs are drawn against "epoch", batches against the step; the summary has the best accuracy.
        run.define_metric("epoch")
        run.define_metric("val/*", step_metric="epoch")
        run.define_metric("val/accuracy", step_metric="epoch", summary="max")

        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        criterion = nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.parameters(), lr=run.config.lr)
        run.watch(model, criterion, log="all", log_freq=10, log_graph=True)
        os.makedirs("checkpoints", exist_ok=True)

        for epoch in range(run.config.epochs):
            for first in range(0, 1400, run.config.batch):
                batch = slice(first, first + run.config.batch)
                loss = criterion(model(images[train][batch]), labels[train][batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log({"train/loss": loss})
            with torch.no_grad():
                accuracy = (model(images[test]).argmax(1) == labels[test]).float().mean()
            run.log({"epoch": epoch, "val/accuracy": accuracy})
            torch.save(model.state_dict(), f"checkpoints/epoch-{epoch}.pt")
            run.save("checkpoints/*.pt")  # now, and again whenever one of them changes
    print(f"{run.name}: best accuracy {run.summary['val/accuracy']:.3f}, {run.config.epochs} checkpoints")


if __name__ == "__main__":
    main()

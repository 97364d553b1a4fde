"""A plain loop of PyTorch, as tutorials of transfer learning have it.

First the new head on the frozen network (Adam, 1e-3): one epoch at least, then until a quarter of the time is over, five epochs
at most. Then the whole network (Adam, 1e-4) until the time is over. Random crops and flips, cross-entropy; the weights of the
epoch with the best accuracy on the validation split are kept. The time that a validation takes is measured off the clock.
"""

from __future__ import annotations

import time

import rules
import timm
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

BATCH_SIZE = 32
WORKERS = 2
HEAD_SHARE, HEAD_EPOCHS = 0.25, 5
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    task = rules.task(__doc__)
    torch.manual_seed(task.seed)
    train, validation, test = loaders(task)
    labels = train.dataset.classes
    overlay = {"file": str(task.weights)}
    model = timm.create_model(rules.BACKBONE, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0)
    # The head is ours, as in the tutorials: that of timm begins with weights so large that the loss is 4 where chance gives 2.3.
    model.classifier = head = nn.Linear(model.num_features, len(labels))
    model = model.to(DEVICE)
    if task.channels_last:
        model = model.to(memory_format=torch.channels_last)
    with task.clock.stopped():
        start = time.perf_counter()
        score(model, validation)
        validation_seconds = time.perf_counter() - start

    def epoch(optimizer: torch.optim.Optimizer) -> None:
        """Goes through the training split once, if there is time, and keeps the weights if they are the best so far."""
        nonlocal best, kept
        for images, targets in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.to(DEVICE)), targets.to(DEVICE))
            loss.backward()
            optimizer.step()
            if task.clock.left() < validation_seconds:
                break
        accuracy = score(model, validation)
        if accuracy > best:
            best, kept = accuracy, {name: value.clone() for name, value in model.state_dict().items()}

    best, kept = -1.0, model.state_dict()
    model.requires_grad_(requires_grad=False)
    head.requires_grad_(requires_grad=True)
    optimizer, head_epochs, whole_epochs, time_left = torch.optim.Adam(head.parameters(), lr=1e-3), 0, 0, task.clock.left()
    while head_epochs == 0 or (head_epochs < HEAD_EPOCHS and task.clock.left() > (1 - HEAD_SHARE) * time_left):
        model.eval()  # the frozen layers keep the statistics that they know
        epoch(optimizer)
        head_epochs += 1
    model.requires_grad_(requires_grad=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    while task.clock.left() > validation_seconds:
        model.train()
        epoch(optimizer)
        whole_epochs += 1
    model.load_state_dict(kept)
    seconds = task.clock.seconds()
    note = f"head {head_epochs} epochs, whole network {whole_epochs}; each last one as far as the time went"
    task.hand_in(seconds, labels, predict(model, test)[0].tolist(), note, ["timm", "torch", "torchvision"])


def loaders(task: rules.Task) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Returns the three splits: the first shuffled and varied, the others in order as timm's weights were tested."""
    normalise = [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
    flip = [transforms.RandomHorizontalFlip()] if task.flip else []
    varied = transforms.Compose([transforms.RandomResizedCrop(rules.SIZE_PX), *flip, *normalise])
    plain = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(rules.SIZE_PX), *normalise])
    train = DataLoader(ImageFolder(task.folder / "train", varied), BATCH_SIZE, shuffle=True, drop_last=True, num_workers=WORKERS)
    validation = DataLoader(ImageFolder(task.folder / "validation", plain), BATCH_SIZE, num_workers=WORKERS)
    test = DataLoader(ImageFolder(task.folder / "test", plain), BATCH_SIZE, num_workers=WORKERS)
    return train, validation, test


def predict(model: nn.Module, loader: DataLoader) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns probabilities [N, C] and class indices [N]."""
    model.eval()
    with torch.inference_mode():
        pairs = [(model(images.to(DEVICE)).softmax(1).cpu(), targets) for images, targets in loader]
    return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])


def score(model: nn.Module, loader: DataLoader) -> float:
    """Returns the accuracy on a split."""
    probabilities, targets = predict(model, loader)
    return float((probabilities.argmax(1) == targets).float().mean())


if __name__ == "__main__":
    main()

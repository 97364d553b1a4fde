"""fastai as its course teaches it: `vision_learner` on the network of timm, then `fine_tune` for what fits.

How long an epoch takes is measured off the clock. If not one epoch of the whole network fits after that of the head, the head
alone is trained for what fits; if not one epoch of the head fits, on as many pictures as do. Everything else is fastai's
default.
"""

from __future__ import annotations

import random
import time

import rules
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.vision.all import (
    Callback,
    CancelFitException,
    CategoryBlock,
    DataBlock,
    DataLoaders,
    FuncSplitter,
    ImageBlock,
    Learner,
    Resize,
    accuracy,
    aug_transforms,
    parent_label,
    set_seed,
    vision_learner,
)

BATCH_SIZE = 64
WORKERS = 2
TIMED_BATCHES = 6


class Stopwatch(Callback):
    """Ends a fit after a few batches."""

    def __init__(self) -> None:
        """Has seen no batch yet."""
        self.times: list[float] = []

    def after_batch(self) -> None:
        """Notes the time."""
        self.times.append(time.perf_counter())
        if len(self.times) > TIMED_BATCHES:
            raise CancelFitException

    def seconds(self) -> float:
        """Returns the time of a batch; the first also starts the workers."""
        return (self.times[-1] - self.times[0]) / (len(self.times) - 1)


def main() -> None:
    task = rules.task(__doc__)
    set_seed(task.seed, reproducible=True)
    learn = learner(task, loaders(task, 1.0))
    with task.clock.stopped():
        head_step, step, validation = pace(learner(task, learn.dls))
    steps = len(learn.dls.train)
    head_epoch, epoch = steps * head_step + validation, steps * step + validation
    set_seed(task.seed, reproducible=True)
    if epochs := int(max(0, task.clock.left() - head_epoch) / epoch):
        learn.fine_tune(epochs)
        note = f"fine_tune({epochs})"
    elif epochs := int(task.clock.left() / head_epoch):
        learn.fit_one_cycle(epochs)
        note = f"head alone, {epochs} epochs"
    else:
        share = max(0.0, task.clock.left() - validation) / (steps * head_step)
        learn = learner(task, loaders(task, share))
        learn.fit_one_cycle(1)
        note = f"head alone, {share:.2f} of an epoch"
    seconds = task.clock.seconds()
    probabilities, _ = learn.get_preds(dl=learn.dls.test_dl(task.files("test")))
    task.hand_in(seconds, learn.dls.vocab, probabilities.tolist(), note, ["fastai", "timm", "torch"])


def loaders(task: rules.Task, share: float) -> DataLoaders:
    """Returns the validation split and a share of the training split."""
    train = task.files("train")
    if share < 1:
        random.seed(task.seed)
        train = random.sample(train, max(BATCH_SIZE, int(share * len(train))))
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        splitter=FuncSplitter(lambda file: file.parent.parent.name == "validation"),
        get_y=parent_label,
        item_tfms=Resize(rules.SIZE_PX),
        batch_tfms=aug_transforms(do_flip=task.flip),
    )
    return block.dataloaders(train + task.files("validation"), bs=BATCH_SIZE, num_workers=WORKERS)


def learner(task: rules.Task, dls: DataLoaders) -> Learner:
    """Returns fastai's learner for the network of timm, with its body frozen; it normalises as timm's weights want it."""
    learn = vision_learner(dls, rules.BACKBONE, metrics=accuracy, pretrained_cfg_overlay={"file": str(task.weights)})
    if task.channels_last:
        learn.add_cb(ChannelsLast())
    return learn.to_fp16() if torch.cuda.is_available() else learn


def pace(learn: Learner) -> tuple[float, float, float]:
    """Returns the seconds of a batch with the body frozen, of one without, and of the validation split; spoils the weights."""
    head, whole = Stopwatch(), Stopwatch()
    with learn.no_bar():
        learn.fit(1, cbs=head)
        learn.unfreeze()
        learn.fit(1, cbs=whole)
        start = time.perf_counter()
        learn.validate()
    return head.seconds(), whole.seconds(), time.perf_counter() - start


if __name__ == "__main__":
    main()

"""How little a picture is like those that a network was trained on: a score of its features and logits, larger = less.

Two things are added, each in units of its spread over known pictures: how far the features point away from those of every label,
and how little the logits say for any label (their energy; Liu et al., 2020). The first finds what is unlike all that was seen, the
second what lies between the labels; docs/benchmarks.md has what was tried beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from eyasd.core.unknown import DistributionRule
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import VALIDATION
from eyasd.training.data.targets import groups_of
from eyasd.training.feed import Feed
from eyasd.training.journal import Journal
from eyasd.training.network import Network, to_pixels

# Pictures of training, and of validation, that are looked at. With 20 of each of 8 labels of the clothing data set the AUROC is
# 0.821, with 50 it is 0.825, with all (some 2,500) 0.828 (frozen features, the mean over five choices of two labels left out).
_EXAMPLES: Final = 400
_FEWEST: Final = 5  # of a label, where it has so many
# One known picture in a hundred is refused by whoever lets pictures be unknown.
_KNOWN_SHARE: Final = 0.99
# Below it a part does not vary, as with a single validation picture, and rounding must not count.
_LEAST_DEVIATIONS: Final = (0.01, 0.1)
_LEAST_NORM: Final = 1e-12  # as in torch
_BATCH: Final = 32
_TOLERANCE: Final = 1e-3  # of the largest feature; the runtimes' rounding makes some 1e-5


class OodScore(nn.Module):
    """Features and logits -> the score, mean 0 over known pictures.

    Attributes:
        centres: float32 [F, G], the mean of the training pictures' unit features in each group, as unit vectors.
        location: float32 [P], the mean of each part over known pictures; P is 1 or 2.
        deviation: float32 [P], its standard deviation.
    """

    centres: Tensor
    location: Tensor
    deviation: Tensor

    def __init__(self, centres: Tensor, *, energy: bool) -> None:
        """Takes the centres, float32 [F, G].

        Args:
            centres: columns of any length; their directions count.
            energy: whether the logits count, too: not where a picture may rightly have no label.
        """
        super().__init__()
        parts = 2 if energy else 1
        self.register_buffer("centres", functional.normalize(centres, dim=0))
        self.register_buffer("location", torch.zeros(parts))
        self.register_buffer("deviation", torch.ones(parts))

    def parts(self, features: Tensor, logits: Tensor) -> Tensor:
        """Returns float32 [N, P] of float32 [N, F] features and float32 [N, C] calibrated logits."""
        # functional.normalize, without its `expand`, of which the exporter makes nodes that compute shapes.
        units = features / features.norm(dim=1, keepdim=True).clamp_min(_LEAST_NORM)
        away = 1 - (units @ self.centres).amax(1)
        return torch.stack([away, -logits.logsumexp(1)][: len(self.location)], 1)

    def standardise(self, features: Tensor, logits: Tensor) -> None:
        """Takes location and deviation from known pictures that nothing was fitted on."""
        parts = self.parts(features, logits)
        self.location.copy_(parts.mean(0))
        self.deviation.copy_(parts.std(0, correction=0).maximum(torch.tensor(_LEAST_DEVIATIONS[: parts.shape[1]])))

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Returns float32 [N]."""
        score: Tensor = ((self.parts(features, logits) - self.location) / self.deviation).sum(1)
        return score

    @property
    def method(self) -> str:
        """How it is computed, for people."""
        cosine = f"cosine distance of the features to the nearest of {self.centres.shape[1]} means of the training pictures"
        return f"{cosine}, and energy of the logits" if len(self.location) > 1 else cosine


@dataclass(frozen=True, slots=True)
class Sample:
    """Pictures that stand for all others, and what a backbone sees in them.

    Attributes:
        train: int64 [n], rows of the training split.
        validation: int64 [m], rows of the validation split.
        features: float32 [n + m, F], of the former, then of the latter.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    features: NDArray[np.float32]

    @property
    def rows(self) -> NDArray[np.int64]:
        """All rows, in the order of the features."""
        return np.concatenate([self.train, self.validation])

    def seen_by(self, network: Network, images: NDArray[np.uint8], journal: Journal) -> Sample:
        """Returns the same with what a network sees now; its backbone may be the very one that saw them.

        Args:
            network: left in evaluation mode.
            images: uint8 [N, H, W, 3].
            journal: may end it.
        """
        network.eval()
        rows, found = self.rows, []
        feed = Feed(images, next(network.parameters()).device)
        with torch.inference_mode():
            for batch in feed.batches([rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]):
                journal.check()
                found.append(network.body(to_pixels(batch)).float().cpu().numpy())
                if len(found) == 1 and self._unchanged(found[0]):
                    return self
        return replace(self, features=np.concatenate(found))

    def _unchanged(self, features: NDArray[np.float32]) -> bool:
        before = self.features[: len(features)]
        return bool(np.abs(features - before).max() <= _TOLERANCE * np.abs(before).max())


def examples(data: Audit) -> int:
    """Returns how many pictures `sample` takes at most."""
    training = max(_EXAMPLES, _FEWEST * (len(data.labels) + 1))
    return training + min(_EXAMPLES, len(data.rows[VALIDATION]))


def sample(data: Audit, train: NDArray[np.int64], rows: NDArray[np.int64], features: NDArray[np.float32], seed: int) -> Sample:
    """Chooses the pictures: some of each group of the training split, and of the validation split some as they come.

    Args:
        data: the splits.
        train: int64 [n], rows of the training split to choose from.
        rows: int64 [m], the rows that features are known of, sorted in any way; those of `train` and of validation are among them.
        features: float32 [m, F].
        seed: of the choice.
    """
    random = np.random.default_rng(seed)
    groups = groups_of(data.targets[train])
    order = np.lexsort((random.random(len(train)), groups))
    firsts = np.searchsorted(groups[order], groups[order])  # where each one's group begins
    each = max(_FEWEST, _EXAMPLES // len(np.unique(groups)))
    chosen = np.sort(train[order[np.arange(len(train)) - firsts < each]])
    validation = data.rows[VALIDATION]
    validation = np.sort(random.choice(validation, min(_EXAMPLES, len(validation)), replace=False))
    places = np.argsort(rows)
    kept = places[np.searchsorted(rows, np.concatenate([chosen, validation]), sorter=places)]
    return Sample(chosen, validation, features[kept])


def fit(sample: Sample, data: Audit, head: nn.Module, temperature: float) -> tuple[OodScore, DistributionRule]:
    """Fits the score to a sample.

    Args:
        sample: seen by the backbone.
        data: what its pictures show.
        head: features -> logits, on the CPU and in evaluation mode.
        temperature: by which they are divided.

    Returns:
        The score, and its bound; which share of the test pictures it refuses is to be found out.
    """
    count = len(sample.train)
    features = torch.from_numpy(sample.features)
    groups = groups_of(data.targets[sample.train])
    units = functional.normalize(features[:count])
    centres = torch.stack([units[torch.from_numpy(groups == group)].mean(0) for group in np.unique(groups)], 1)
    score = OodScore(centres, energy=not data.multi_label).eval()
    with torch.inference_mode():
        logits = head(features[count:]) / temperature
        score.standardise(features[count:], logits)
        bound, share = threshold(score(features[count:], logits).numpy())
    return score, DistributionRule(score.method, bound, share)


def threshold(scores: NDArray[np.float32]) -> tuple[float, float]:
    """Returns what a share of known pictures stays within, and that share: 0.99, or what so few of them can tell.

    One more picture is within the k-th of n scores with a chance of k / (n + 1) (conformal prediction, Papadopoulos et al., 2002).

    Args:
        scores: float32 [n], of pictures that nothing was fitted on, at least one.
    """
    n = len(scores)
    k = min(n, ceil(_KNOWN_SHARE * (n + 1)))
    return float(np.sort(scores)[k - 1]), min(_KNOWN_SHARE, k / (n + 1))

"""How many steps a fine-tuning has time for: what was measured, and what the end of the job will need.

Knows seconds, not networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from eyasd.training.budget import Budget

# Of tf_efficientnet_lite0 to vgg16 on 2 cores: 4 to 12 s for the export alone; and 2 s for the report's pictures and plots.
_EXPORT_SECONDS: Final = 12.0
# ONNX Runtime takes half of torch's time or less; on 2 cores 158 to 187 pictures/s where torch has 80 to 90.
SESSION_SHARE: Final = 0.5
# For a machine that others use, too.
MARGIN: Final = 1.25
# Of the averages and ways back that are tried at the end; where time is short, the others are left out.
_REFINEMENTS: Final = 3


@dataclass
class Pace:
    """The time of a fine-tuning.

    Attributes:
        budget: when the job has to end.
        validation_steps: number of steps between two validations.
        step_seconds: of one step; 0 until measured.
        validation_seconds: of one pass over the validation split.
        export_seconds: from the last step to the published version.
    """

    budget: Budget
    validation_steps: int
    step_seconds: float = 0.0
    validation_seconds: float = 0.0
    export_seconds: float = 0.0

    def expect_end(self, picture_seconds: float, validation: int, network: int, session: int, *, more_seconds: float = 0.0) -> None:
        """Notes how long the end will take.

        Args:
            picture_seconds: of one picture through the network in torch.
            validation: number of pictures of the validation split that this process sees.
            network: number of pictures between the last step and the publication that the network sees in torch.
            session: the same of the exported file in ONNX Runtime, each picture counted as often as it is seen.
            more_seconds: of what else is to be done.
        """
        self.validation_seconds = picture_seconds * validation
        self.export_seconds = MARGIN * (_EXPORT_SECONDS + more_seconds + picture_seconds * (network + SESSION_SHARE * session))

    @property
    def is_over(self) -> bool:
        """Whether no step is to follow: what is left is for a validation, some averages and the end."""
        return self._left_seconds() < 0

    @property
    def may_refine(self) -> bool:
        """Whether another average can be tried and the end still be in time."""
        return self.budget.left_seconds() > self.export_seconds + self.validation_seconds

    def steps(self, done: int, wanted: int, *, due: bool) -> int:
        """Returns how many steps there will be in all, so that the learning rate has fallen when time is up.

        Args:
            done: number of steps so far.
            wanted: how many there are to be at most.
            due: whether a validation of those done is to come anyway. If not, steps that take less time than it are not worth it.
        """
        left = self._left_seconds()
        if left <= 0:
            return min(done, wanted)
        if left == inf or not self.step_seconds:
            return wanted
        more = int(left / self.seconds_of_step())
        return min(wanted, done + more) if due or more * self.step_seconds >= self.validation_seconds else min(done, wanted)

    def seconds_of_step(self) -> float:
        """Returns the time of a step with its share of a validation; 0 until measured."""
        return self.step_seconds + self.validation_seconds / self.validation_steps if self.step_seconds else 0.0

    def _left_seconds(self) -> float:
        return self.budget.left_seconds() - self.export_seconds - (1 + _REFINEMENTS) * self.validation_seconds

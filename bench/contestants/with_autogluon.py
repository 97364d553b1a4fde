"""AutoGluon's MultiModalPredictor on the network of timm; its `time_limit` is what is left of the budget.

All else is AutoGluon's default: steps of 128 pictures, gathered from batches of 8; layers that learn the slower the deeper they
lie; trivial augmentation; 20 epochs at most, of which the best checkpoints are averaged. The weights come from a folder, as
nothing is downloaded. It makes its network itself, so --channels-last changes nothing here.
"""

from __future__ import annotations

import tempfile

import numpy as np
import pandas as pd
import rules
from autogluon.multimodal import MultiModalPredictor


def main() -> None:
    task = rules.task(__doc__)
    limit = task.clock.left()
    train, validation = table(task, "train"), table(task, "validation")
    with tempfile.TemporaryDirectory(prefix="eyas-bench-") as folder:
        predictor = MultiModalPredictor(label="label", problem_type="multiclass", eval_metric="accuracy", path=folder, verbosity=2)
        predictor.fit(
            train,
            tuning_data=validation,
            time_limit=limit,
            seed=task.seed,
            hyperparameters={"model.names": ["timm_image"], "model.timm_image.checkpoint_name": str(task.weights.parent)},
        )
        seconds = task.clock.seconds()
        answers = predictor.predict_proba(table(task, "test")[["image"]])
    probabilities = np.asarray(answers[sorted(answers.columns)])
    task.hand_in(
        seconds,
        sorted(answers.columns),
        probabilities.tolist(),
        f"fit(time_limit={limit:.0f})",
        ["autogluon.multimodal", "timm", "torch"],
    )


def table(task: rules.Task, split: str) -> pd.DataFrame:
    """Returns a row a picture: its path and its label."""
    files = task.files(split)
    return pd.DataFrame({"image": [str(file) for file in files], "label": [file.parent.name for file in files]})


if __name__ == "__main__":
    main()

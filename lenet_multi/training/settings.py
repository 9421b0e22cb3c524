"""The settings that define a training run."""

from __future__ import annotations

from dataclasses import dataclass

PICTURES = "pictures"


@dataclass(frozen=True)
class Settings:
    """Data, hyperparameters and seed of a run. A resumed run may only increase `epochs`.

    Args:
        dataset: its name, or the path of its folder.
        data_sha256: digest of its images and labels (`Dataset.digest`).
        num_train: training examples.
        num_test: test examples.
        epochs: in all.
        batch_size: examples per step.
        lr: learning rate.
        seed: of the initial weights and the shuffling.
        lr_decay_epoch: the learning rate is a tenth of `lr` after this many epochs; never when None.
        test_fraction: the part of each class that is held out for testing from a folder of images; None for data that
            has test images of its own.
        split_seed: seed of the choice of these images.
        data_format: `pictures` for a folder of PNG or JPEG files; empty for other data.
    """

    dataset: str
    data_sha256: str
    num_train: int
    num_test: int
    epochs: int
    batch_size: int
    lr: float
    seed: int
    lr_decay_epoch: int | None = None
    test_fraction: float | None = None
    split_seed: int = 0
    data_format: str = ""

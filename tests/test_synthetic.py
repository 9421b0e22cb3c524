"""The drawn data set has the right format, is reproducible, and is difficult because of similar classes."""

import numpy as np
import pytest

from lenet_multi.data import synthetic

T_SHIRT, TROUSER, PULLOVER, DRESS, COAT, SANDAL, SHIRT, SNEAKER, BAG, ANKLE_BOOT = range(10)
NUM_TRAIN, NUM_TEST = 4_000, 2_000


@pytest.fixture(scope="module")
def drawn():
    return synthetic.generate(NUM_TRAIN, NUM_TEST, seed=0)


def directions(images):
    """The images as vectors of length 1, so that brightness does not matter: float64 (n, 784)."""
    pixels = images.reshape(len(images), -1).astype(float)
    return pixels / np.linalg.norm(pixels, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def confusion(drawn):
    """The confusion matrix of the nearest class mean (by angle) on the test images: (true class, predicted class)."""
    train_images, train_labels, test_images, test_labels = drawn
    means = directions(np.stack([train_images[train_labels == label].mean(axis=0) for label in range(10)]))
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (test_labels, (directions(test_images) @ means.T).argmax(axis=1)), 1)
    return counts


def distinct(images):
    """The set of distinct images."""
    return {image.tobytes() for image in images}


def test_images_and_labels_are_bytes_of_the_right_shapes(drawn):
    assert [(part.shape, part.dtype) for part in drawn] == [
        ((NUM_TRAIN, 28, 28), np.uint8),
        ((NUM_TRAIN,), np.uint8),
        ((NUM_TEST, 28, 28), np.uint8),
        ((NUM_TEST,), np.uint8),
    ]


def test_the_default_sizes_are_those_of_fashion_mnist():
    assert synthetic.generate.__defaults__ == (60_000, 10_000, 0)


@pytest.mark.parametrize(("num_train", "num_test"), [(200, 100), (37, 10), (10, 4_999)])
def test_classes_are_balanced_at_every_size(num_train, num_test):
    _, train_labels, _, test_labels = synthetic.generate(num_train, num_test)
    for labels, size in ((train_labels, num_train), (test_labels, num_test)):
        counts = np.bincount(labels, minlength=10)
        assert counts.sum() == size
        assert np.ptp(counts) == (size % 10 > 0)


def test_labels_are_shuffled(drawn):
    _, train_labels, _, test_labels = drawn
    for labels in (train_labels, test_labels):
        # Neighbors in random order are equal one time in ten; in sorted order always, in cyclic order never.
        assert 0.05 < np.mean(labels[1:] == labels[:-1]) < 0.15


def test_the_same_arguments_give_the_same_bytes():
    for first, second in zip(synthetic.generate(300, 100, 5), synthetic.generate(300, 100, 5), strict=True):
        np.testing.assert_array_equal(first, second)


def test_another_seed_gives_other_images():
    first, second = synthetic.generate(300, 100, 0), synthetic.generate(300, 100, 1)
    assert not distinct(first[0]) & distinct(second[0])
    assert not distinct(first[2]) & distinct(second[2])


def test_one_split_does_not_depend_on_the_size_of_the_other():
    np.testing.assert_array_equal(synthetic.generate(50, 100)[2], synthetic.generate(200, 100)[2])
    np.testing.assert_array_equal(synthetic.generate(200, 10)[0], synthetic.generate(200, 100)[0])


def test_no_image_is_drawn_twice(drawn):
    train_images, _, test_images, _ = drawn
    assert len(distinct(train_images) | distinct(test_images)) == NUM_TRAIN + NUM_TEST


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_sizes_do_not_make_the_test_set_a_copy_of_the_training_set(seed):
    train_images, train_labels, test_images, test_labels = synthetic.generate(100, 100, seed)
    assert not distinct(train_images) & distinct(test_images)
    assert (train_labels != test_labels).any()


@pytest.mark.parametrize("label", range(10))
def test_every_class_is_a_visible_garment_on_black(drawn, label):
    images = drawn[0][drawn[1] == label]
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.mean(corners == 0) > 0.8
    assert np.mean(images == 0) > 0.2
    lit = np.mean(images > 20, axis=(1, 2))
    assert lit.min() > 0.03
    assert 0.15 < lit.mean() < 0.75
    assert images[images > 20].mean() > 80


def test_no_arithmetic_operation_overflows():
    with np.errstate(all="raise", under="ignore"):
        synthetic.generate(500, 10)


def test_the_nearest_class_mean_does_well_but_not_too_well(confusion):
    assert 0.5 < np.trace(confusion) / NUM_TEST < 0.95


def test_shirts_are_confused_with_similar_classes_and_not_with_trousers_or_boots(confusion):
    predicted = confusion[SHIRT]
    dissimilar = predicted[[TROUSER, SANDAL, SNEAKER, ANKLE_BOOT]]
    for label in (T_SHIRT, PULLOVER, COAT):
        assert predicted[label] > 3 * dissimilar.max()


def test_most_mistakes_are_between_similar_classes(confusion):
    mistakes = confusion - np.diag(np.diag(confusion))
    clothes = [T_SHIRT, PULLOVER, DRESS, COAT, SHIRT]
    shoes = [SANDAL, SNEAKER, ANKLE_BOOT]
    within = sum(mistakes[np.ix_(group, group)].sum() for group in (clothes, shoes))
    # Of the 90 ordered pairs of classes, 26 are within the two groups: 29 % of evenly spread mistakes.
    assert within > 0.7 * mistakes.sum()


@pytest.mark.parametrize(("num_train", "num_test"), [(9, 100), (100, 9), (0, 10), (-1, 10)])
def test_a_split_without_every_class_is_refused(num_train, num_test):
    with pytest.raises(ValueError, match="at least 10 examples"):
        synthetic.generate(num_train, num_test)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        synthetic.generate(10, 10, seed=-1)

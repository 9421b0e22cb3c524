"""Data sets are found, read and checked, and batches come in the right order."""

import gzip
import shutil

import numpy as np
import pytest
from small_folder import blobs, write_folder

from lenet_multi import data
from lenet_multi.data import BatchSampler, DataError, epoch_order, load_dataset, published, synthetic
from lenet_multi.data.idx import FILE_NAMES, IMAGES_MAGIC, LABELS_MAGIC, parse_idx, to_idx

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILE_NAMES.values()


def test_the_order_is_a_permutation_determined_by_seed_and_epoch():
    order = epoch_order(1000, seed=3, epoch=2)
    assert sorted(order) == list(range(1000))
    np.testing.assert_array_equal(order, epoch_order(1000, seed=3, epoch=2))
    assert (order != epoch_order(1000, seed=3, epoch=3)).any()
    assert (order != epoch_order(1000, seed=4, epoch=2)).any()


def test_an_epoch_contains_every_example_once_and_its_last_batch_the_remaining_ones():
    batches = list(BatchSampler(60_000, 256, seed=0))
    assert [len(batch) for batch in batches] == [256] * 234 + [96]
    assert sorted(np.concatenate(batches)) == list(range(60_000))


def test_several_epochs_give_the_same_batches_as_single_epochs():
    together = list(BatchSampler(50, 16, seed=1, epochs=(4, 5)))
    separately = [batch for epoch in (4, 5) for batch in BatchSampler(50, 16, seed=1, epochs=(epoch,))]
    assert len(together) == len(BatchSampler(50, 16, seed=1, epochs=(4, 5))) == 8
    for a, b in zip(together, separately, strict=True):
        np.testing.assert_array_equal(a, b)


def test_parse_idx_inverts_to_idx(tmp_path):
    images, labels = blobs(7)
    np.testing.assert_array_equal(parse_idx(bytearray(to_idx(images)), IMAGES_MAGIC, tmp_path), images)
    np.testing.assert_array_equal(parse_idx(bytearray(to_idx(labels)), LABELS_MAGIC, tmp_path), labels)


def test_a_folder_of_idx_files_is_read_plain_or_compressed(tmp_path):
    folder = write_folder(tmp_path / "own", num_train=40, num_test=20)
    plain = load_dataset(str(folder))
    for name in (TRAIN_IMAGES, TEST_LABELS):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    mixed = load_dataset(str(folder))
    assert plain.name == str(folder)
    assert plain.train.images.shape == (40, 1, 28, 28)
    assert plain.train.images.dtype == plain.train.labels.dtype == np.uint8
    np.testing.assert_array_equal(mixed.train.images, plain.train.images)
    np.testing.assert_array_equal(mixed.test.labels, plain.test.labels)


def without_a_file(folder):
    (folder / TEST_LABELS).unlink()


def with_wrong_magic(folder):
    shutil.copy(folder / TRAIN_LABELS, folder / TRAIN_IMAGES)


def cut_short(folder):
    content = (folder / TRAIN_IMAGES).read_bytes()
    (folder / TRAIN_IMAGES).write_bytes(content[: len(content) // 2])


def shorter_than_the_header(folder):
    (folder / TRAIN_LABELS).write_bytes(b"\0\0\x08\x01\0")


def with_gzip_cut_short(folder):
    content = gzip.compress((folder / TRAIN_IMAGES).read_bytes())
    (folder / TRAIN_IMAGES).write_bytes(content[: len(content) // 2])


def with_counts_that_disagree(folder):
    (folder / TRAIN_LABELS).write_bytes(to_idx(np.zeros(39, np.uint8)))


def with_a_label_outside_the_classes(folder):
    (folder / TEST_LABELS).write_bytes(to_idx(np.full(20, 10, np.uint8)))


def with_two_image_sizes(folder):
    (folder / TEST_IMAGES).write_bytes(to_idx(np.zeros((20, 28, 27), np.uint8)))


def with_no_example(folder):
    (folder / TEST_IMAGES).write_bytes(to_idx(np.zeros((0, 28, 28), np.uint8)))
    (folder / TEST_LABELS).write_bytes(to_idx(np.zeros(0, np.uint8)))


DAMAGES = {
    without_a_file: f"lacks {TEST_LABELS}",
    with_wrong_magic: f"{TRAIN_IMAGES}: not an IDX file of images: begins with 0x00000801, expected 0x00000803",
    cut_short: f"{TRAIN_IMAGES}: the file is damaged or truncated: .* expected 31360",
    shorter_than_the_header: f"{TRAIN_LABELS}: not an IDX file of labels: begins with 0x00000801",
    with_gzip_cut_short: f"{TRAIN_IMAGES}: the gzip data is damaged or truncated",
    with_counts_that_disagree: "40 images .* but 39 labels",
    with_a_label_outside_the_classes: f"{TEST_LABELS}: label 10, expected 0 to 9 as in the training data",
    with_two_image_sizes: "28 x 28 but test images 28 x 27",
    with_no_example: f"{TEST_IMAGES}: contains no images",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_folder_is_refused(damage, tmp_path):
    folder = write_folder(tmp_path / "own", num_train=40, num_test=20)
    damage(folder)
    with pytest.raises(DataError, match=DAMAGES[damage]):
        load_dataset(str(folder))


def test_a_name_that_is_neither_a_data_set_nor_a_folder_is_refused():
    with pytest.raises(
        DataError,
        match="'fasion-mnist' is neither a known data set nor a folder: choose one of auto, fash",
    ):
        load_dataset("fasion-mnist")


@pytest.fixture
def small_published(tmp_path, monkeypatch):
    """Replace Fashion-MNIST with a small data set without mirrors. Returns the folder with its files."""
    import hashlib

    folder = write_folder(tmp_path / "data" / "fashion-mnist", num_train=40, num_test=20)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILE_NAMES.values()}
    small = published.Published("Fashion-MNIST", (), digests, published.FASHION_MNIST.class_names)
    monkeypatch.setitem(published.PUBLISHED, "fashion-mnist", small)
    return folder


def test_published_data_is_searched_in_the_given_folder_the_environments_and_the_cache(
    small_published, empty_cache, tmp_path, monkeypatch, capsys
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    roots = [small_published.parent]
    assert len(load_dataset("fashion-mnist", small_published.parent).train) == 40

    monkeypatch.setenv("LENET_MULTI_DATA", str(small_published.parent))
    assert len(load_dataset("fashion-mnist", elsewhere).train) == 40

    note = f"note: '{elsewhere}' does not contain fashion-mnist: using '{small_published}'\n"
    assert capsys.readouterr().err == note

    monkeypatch.delenv("LENET_MULTI_DATA")
    shutil.copytree(roots[0], empty_cache)
    assert len(load_dataset("fashion-mnist", elsewhere).train) == 40


def test_recompressed_published_data_is_accepted(small_published):
    path = small_published / TRAIN_IMAGES
    (small_published / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
    path.unlink()
    assert len(load_dataset("fashion-mnist", small_published.parent).train) == 40


def test_published_data_with_one_changed_byte_is_refused(small_published):
    path = small_published / TRAIN_IMAGES
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{TRAIN_IMAGES}: content has SHA-256 .*delete it"):
        load_dataset("fashion-mnist", small_published.parent)


def test_the_real_data_set_has_its_published_size(fashion_mnist):
    assert fashion_mnist.name == "fashion-mnist"
    assert fashion_mnist.train.images.shape == (60_000, 1, 28, 28)
    assert fashion_mnist.test.images.shape == (10_000, 1, 28, 28)
    assert np.bincount(fashion_mnist.train.labels).tolist() == [6_000] * 10


@pytest.fixture
def small_synthetic(monkeypatch):
    """Draw a few images instead of 70,000, and record each drawing."""
    calls = []
    draw = synthetic.generate

    def generate():
        calls.append(1)
        return draw(num_train=100, num_test=50)

    monkeypatch.setattr(data.synthetic, "generate", generate)
    return calls


def test_drawn_images_are_saved_and_read_back(small_synthetic, empty_cache):
    drawn, read = load_dataset("synthetic"), load_dataset("synthetic")
    assert len(small_synthetic) == 1
    assert drawn.name == read.name == "synthetic"
    np.testing.assert_array_equal(read.train.images, drawn.train.images)
    np.testing.assert_array_equal(read.test.labels, drawn.test.labels)
    assert [path.name for path in empty_cache.iterdir()] == [f"synthetic-v{synthetic.VERSION}"]


def test_what_killed_processes_left_in_the_cache_is_removed(small_synthetic, empty_cache):
    """Earlier versions wrote a temporary folder beside the data, this one writes a temporary file in it."""
    saved, old = (empty_cache / f"synthetic-v{synthetic.VERSION}{ending}" for ending in ("", "-1a2b3c4d"))
    for folder, name in ((saved, f".{TRAIN_IMAGES}.{'0' * 16}.part"), (old, TRAIN_IMAGES)):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"half")
    load_dataset("synthetic")
    assert list(empty_cache.iterdir()) == [saved]
    assert {path.name for path in saved.iterdir()} == set(FILE_NAMES.values())


def test_damaged_saved_images_are_drawn_again(small_synthetic, empty_cache):
    load_dataset("synthetic")
    (empty_cache / f"synthetic-v{synthetic.VERSION}" / TRAIN_IMAGES).write_bytes(b"damaged")
    assert len(load_dataset("synthetic").train) == 100
    assert len(small_synthetic) == 2
    load_dataset("synthetic")
    assert len(small_synthetic) == 2


def test_images_are_drawn_even_if_they_cannot_be_saved(small_synthetic, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load_dataset("synthetic").train) == 100
    assert "could not be saved" in capsys.readouterr().err


def test_auto_uses_fashion_mnist_if_it_is_on_disk(small_published, empty_cache):
    assert load_dataset("auto", small_published.parent).name == "fashion-mnist"


def test_auto_falls_back_to_drawn_images_with_a_warning(
    small_published, small_synthetic, empty_cache, tmp_path, capsys
):
    dataset = load_dataset("auto", tmp_path / "nothing")
    assert dataset.name == "synthetic"
    assert "its figures are NOT for Fashion-MNIST" in capsys.readouterr().err


def test_fashion_mnist_by_name_never_falls_back(small_published, empty_cache, tmp_path):
    with pytest.raises(published.DownloadError, match="put its four IDX files"):
        load_dataset("fashion-mnist", tmp_path / "nothing")

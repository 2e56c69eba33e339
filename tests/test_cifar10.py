"""CIFAR-10, photograph patches and downloads: what is read is what was written, and a batch runs no code."""

import os
import pickle

import numpy as np
import pytest

from hjpde._cifar10 import CLASSES, read_cifar10_batch
from hjpde._datasets import check_dataset, load_cifar10, load_patches, named_dataset

NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def batch(seed, n=10):
    data = np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)
    labels = [int(label) for label in np.arange(n) % 10]
    return {b"batch_label": b"a batch", b"labels": labels, b"data": data, b"filenames": [b"a.png"] * n}


def write(folder, protocol=2):
    for seed, name in enumerate(NAMES):
        (folder / name).write_bytes(pickle.dumps(batch(seed), protocol))


@pytest.mark.parametrize("inner", [False, True])
def test_what_is_read_is_what_was_written(tmp_path, inner):
    folder = tmp_path / "cifar-10-batches-py" if inner else tmp_path
    folder.mkdir(exist_ok=True)
    write(folder)
    dataset = named_dataset("cifar10", tmp_path)
    assert dataset.X.shape == (50, 3072)
    assert dataset.X.dtype == np.float32
    assert dataset.image_shape == (32, 32, 3)
    assert dataset.classes == CLASSES
    assert dataset.X_test is not None
    assert dataset.X_test.shape == (10, 3072)
    np.testing.assert_array_equal(dataset.y, np.tile(np.arange(10), 5))
    # Red, green and blue planes of the file become the last axis.
    planes = batch(0)[b"data"][3].reshape(3, 32, 32)
    image = dataset.X[3].reshape(32, 32, 3)
    for colour in range(3):
        np.testing.assert_allclose(image[:, :, colour], planes[colour] / 255, rtol=1e-6)
    assert dataset.feature_names[3 * 33 + 2] == "b_1_1"
    check_dataset(dataset)


def test_a_batch_as_python_2_wrote_it(tmp_path):
    """Its strings are bytes, and its arrays name numpy's old module."""
    content = pickle.dumps(batch(1), 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"cnumpy.core.multiarray\n" in content
    (tmp_path / "old").write_bytes(content)
    images, labels = read_cifar10_batch(tmp_path / "old")
    np.testing.assert_array_equal(images[2, :, :, 1].ravel(), batch(1)[b"data"][2, 1024:2048])
    assert labels.tolist() == list(range(10))


class Evil:
    """A pickle that calls a function of its choice when it is read."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "content",
    [
        Evil(os.mkdir, "made"),
        {b"data": Evil(eval, "1"), b"labels": [1]},
        {b"data": np.zeros((1, 3072), np.uint8), b"labels": np.float64(1)},
        {b"data": np.array([print]), b"labels": [1]},
        Evil(np.ndarray, (10**12,)),
        np.zeros((1, 3072)),
    ],
)
def test_nothing_but_byte_arrays_and_plain_values_is_made(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(ValueError, match="batch is truncated or no batch of CIFAR-10"):
        read_cifar10_batch(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("cut", [0, 1, 100, 1000, -1])
def test_truncated_files(tmp_path, cut):
    path = tmp_path / "short"
    path.write_bytes(pickle.dumps(batch(0), 2)[:cut])
    with pytest.raises(ValueError, match="short is truncated or no batch"):
        read_cifar10_batch(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must hold a dictionary"),
        ({b"data": np.zeros((1, 3072), np.uint8)}, "must hold a dictionary with b'data' and b'labels'"),
        (batch(0) | {b"data": np.zeros((10, 3), np.uint8)}, r"bytes of shape \(n, 3072\), it holds uint8 \(10, 3\)"),
        (batch(0) | {b"data": [1]}, "it holds list"),
        (batch(0) | {b"labels": [10] * 10}, "list of labels from 0 to 9"),
        (batch(0) | {b"labels": [1]}, "1 labels for 10 images"),
        (batch(0, 0), "0 labels for 0 images"),
    ],
)
def test_foreign_files(tmp_path, content, message):
    path = tmp_path / "foreign"
    path.write_bytes(pickle.dumps(content, 3))
    with pytest.raises(ValueError, match=message) as caught:
        read_cifar10_batch(path)
    assert str(path) in str(caught.value)


def test_folders_that_are_not_right(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        load_cifar10(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"lacks data_batch_1, .*test_batch"):
        load_cifar10(tmp_path)
    with pytest.raises(ValueError, match="`data` must be the folder that holds the python batches"):
        named_dataset("cifar10")
    write(tmp_path)
    train = batch(0) | {b"labels": [1] * 10}
    for name in NAMES[:-1]:
        (tmp_path / name).write_bytes(pickle.dumps(train, 2))
    with pytest.raises(ValueError, match=r"test labels .* do not occur"):
        load_cifar10(tmp_path)


def test_patches_are_cut_from_disjoint_parts_of_two_photographs():
    from sklearn.datasets import load_sample_image

    dataset = load_patches()
    check_dataset(dataset)
    assert dataset.classes == ("china", "flower")
    assert dataset.image_shape == (32, 32, 3)
    photographs = [load_sample_image(f"{name}.jpg") / 255 for name in dataset.classes]
    assert dataset.X_test is not None
    assert dataset.y_test is not None
    for X, y, left, width in ((dataset.X, dataset.y, 0, 448), (dataset.X_test, dataset.y_test, 448, 192)):
        columns = (width - 32) // 16 + 1
        assert np.bincount(y).tolist() == [25 * columns] * 2
        for label in (0, 1):
            own = X[y == label].reshape(25, columns, 32, 32, 3)
            for i, j in ((0, 0), (3, 5), (24, columns - 1)):
                expected = photographs[label][16 * i : 16 * i + 32, left + 16 * j : left + 16 * j + 32]
                np.testing.assert_allclose(own[i, j], expected, rtol=1e-6)


@pytest.mark.parametrize(("name", "width", "shape"), [("mnist", 4, (2, 2)), ("cifar10", 3072, (32, 32, 3))])
def test_downloads_go_through_scikit_learn(monkeypatch, name, width, shape):
    import sklearn.datasets

    rng = np.random.default_rng(0)
    data, target = rng.integers(0, 256, (10_020, width)), np.arange(10_020) % 10
    asked = []

    def fetch(title, **options):
        asked.append(title)
        return sklearn.utils.Bunch(data=data, target=target.astype(str))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    dataset = named_dataset(name, download=True)
    assert asked == [{"mnist": "mnist_784", "cifar10": "CIFAR_10"}[name]]
    assert dataset.X.shape == (20, width)
    assert dataset.X_test is not None
    assert dataset.X_test.shape == (10_000, width)
    assert dataset.image_shape == shape
    np.testing.assert_array_equal(dataset.y, target[:20])
    first = data[0] if name == "mnist" else data[0].reshape(3, 32, 32).transpose(1, 2, 0).ravel()
    np.testing.assert_allclose(dataset.X[0], first / 255, rtol=1e-6)


def test_no_other_data_set_is_downloaded(tmp_path):
    with pytest.raises(ValueError, match="`download` is for mnist and cifar10"):
        named_dataset("iris", download=True)
    with pytest.raises(ValueError, match="`download` is for mnist and cifar10 without `data`"):
        named_dataset("mnist", tmp_path, download=True)

"""Data sets: what is read is what was written, and every mistake is named with its file."""

import dataclasses
import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hjpde._datasets import check_dataset, load_mnist, named_dataset, read_idx, read_table

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(array, code=0x08):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return struct.pack(">HBB", 0, code, array.ndim) + sizes + array.astype(DTYPES[code]).tobytes()


def one_line(path):
    """A pattern-free check of a message: it names the file and has no second line."""

    def check(caught):
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message

    return check


@pytest.mark.parametrize("code", DTYPES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_round_trip(tmp_path, code, pack):
    array = np.arange(24).reshape(2, 3, 4)
    path = tmp_path / "file"
    path.write_bytes(pack(idx(array, code)))
    back = read_idx(path)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == np.dtype(DTYPES[code]).newbyteorder("=")
    assert back.dtype.isnative


def test_the_magic_numbers_of_mnist():
    assert struct.unpack(">I", idx(np.zeros((1, 2, 2)))[:4]) == (2051,)
    assert struct.unpack(">I", idx(np.zeros(1))[:4]) == (2049,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is truncated: 0 bytes"),
        (b"\x00\x00\x08", "is truncated: 3 bytes"),
        (b"PK\x03\x04....", "is no IDX file"),
        (b"\x00\x00\x07\x01" + bytes(8), "unknown IDX type code 0x07"),
        (b"\x00\x00\x08\x03" + bytes(8), "sizes end at byte 16"),
        (idx(np.zeros((2, 3)))[:-1], "is truncated: 17 bytes, but shape (2, 3) of uint8 needs 18"),
        (idx(np.zeros((2, 3))) + b"x", "is too long: 19 bytes"),
        (gzip.compress(idx(np.zeros((2, 3))), mtime=0)[:-9], "truncated or corrupted gzip"),
        (b"\x1f\x8bnonsense", "truncated or corrupted gzip"),
    ],
)
def test_broken_idx_files(tmp_path, content, message):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken") as caught:
        read_idx(path)
    assert message in str(caught.value)
    one_line(path)(caught)


def test_idx_of_a_folder_or_nothing(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        read_idx(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


def mnist_files(dash="-", pack=bytes, ending=""):
    rng = np.random.default_rng(0)
    files = {}
    for part, n in (("train", 6), ("t10k", 4)):
        images, labels = rng.integers(0, 256, (n, 2, 3)), np.arange(n) % 4
        files[f"{part}-images{dash}idx3-ubyte{ending}"] = pack(idx(images))
        files[f"{part}-labels{dash}idx1-ubyte{ending}"] = pack(idx(labels))
    return files


def write(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize(("pack", "ending"), [(bytes, ""), (gzip.compress, ".gz")])
def test_mnist_under_each_of_its_names(tmp_path, dash, pack, ending):
    write(tmp_path, mnist_files(dash, pack, ending))
    dataset = named_dataset("mnist", tmp_path)
    assert dataset.X.shape == (6, 6)
    assert dataset.X.dtype == np.float32
    assert dataset.image_shape == (2, 3)
    assert dataset.classes == (0, 1, 2, 3)
    assert dataset.X_test is not None
    assert dataset.y_test is not None
    assert dataset.X_test.shape == (4, 6)
    np.testing.assert_array_equal(dataset.y, np.arange(6) % 4)
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 3))
    np.testing.assert_allclose(dataset.X, images.reshape(6, 6) / 255, rtol=1e-6)
    check_dataset(dataset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train-labels-idx1-ubyte": None}, "lacks train-labels-idx1-ubyte[.gz]."),
        ({"train-labels-idx1-ubyte": idx(np.zeros(5))}, "holds 5 labels for 6 images"),
        ({"t10k-images-idx3-ubyte": idx(np.zeros((4, 6)))}, "must hold images"),
        ({"t10k-images-idx3-ubyte": idx(np.zeros((4, 2, 3)), 0x0D)}, "it holds float32"),
        ({"t10k-images-idx3-ubyte": idx(np.zeros((4, 3, 3)))}, "has images of shape (3, 3)"),
        ({"train-images-idx3-ubyte": idx(np.zeros((0, 2, 3)))}, "is empty"),
        ({"t10k-labels-idx1-ubyte": idx(np.full(4, 9))}, "test labels [9] do not occur"),
        ({"t10k-labels-idx1-ubyte": idx(np.zeros(4))[:-1]}, "is truncated"),
    ],
)
def test_mnist_folders_that_are_not_right(tmp_path, change, message):
    files = mnist_files() | change
    write(tmp_path, {name: content for name, content in files.items() if content is not None})
    with pytest.raises(ValueError, match=r".") as caught:
        load_mnist(tmp_path)
    assert message in str(caught.value)
    one_line(tmp_path)(caught)


def test_mnist_without_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        load_mnist(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="`data` must be the folder"):
        named_dataset("mnist")
    with pytest.raises(ValueError, match=r"lacks train-images-idx3-ubyte.*t10k-labels-idx1-ubyte"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    ("name", "shape", "task", "n_classes"),
    [
        ("digits", (1797, 64), "classification", 10),
        ("iris", (150, 4), "classification", 3),
        ("wine", (178, 13), "classification", 3),
        ("breast_cancer", (569, 30), "classification", 2),
        ("diabetes", (442, 10), "regression", 0),
    ],
)
def test_named_data_sets(name, shape, task, n_classes):
    dataset = named_dataset(name)
    check_dataset(dataset)
    assert (dataset.X.shape, dataset.task, len(dataset.classes)) == (shape, task, n_classes)
    assert len(dataset.feature_names) == shape[1]
    assert dataset.name == name
    assert dataset.X.dtype == np.float64


def test_digits_are_images_from_zero_to_one():
    dataset = named_dataset("digits")
    assert (dataset.X.min(), dataset.X.max(), dataset.image_shape) == (0, 1, (8, 8))


def test_unknown_names():
    with pytest.raises(ValueError, match=r"digits, mnist, sunspots, iris.*Did you mean 'digits'\?"):
        named_dataset("digit")
    with pytest.raises(ValueError, match=r"there are digits, mnist, .*patches\.$"):
        named_dataset("zzz")


def table(tmp_path, text, *arguments, name="table.csv", **options):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_table(path, *arguments, **options)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_with_names(tmp_path, delimiter, end):
    rows = [["a", "b", "c"], ["1", "2.5", "0.5"], ["-3e2", "4", "1.5"]]
    text = end.join(delimiter.join(row) for row in rows) + end
    dataset = table(tmp_path, text)
    np.testing.assert_array_equal(dataset.X, [[1, 2.5], [-300, 4]])
    np.testing.assert_array_equal(dataset.y, [0.5, 1.5])
    assert dataset.feature_names == ("a", "b")
    assert (dataset.target_name, dataset.task, dataset.name) == ("c", "regression", "table")
    by_name = table(tmp_path, text, "a")
    assert by_name.feature_names == ("b", "c")
    np.testing.assert_array_equal(by_name.y, [1, -300])
    for position in (0, "0", -3):
        np.testing.assert_array_equal(table(tmp_path, text, position).y, [1, -300])


def test_csv_without_names(tmp_path):
    dataset = table(tmp_path, "1,2,dog\n3,4,cat\n\n5,6,dog\n")
    np.testing.assert_array_equal(dataset.X, [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(dataset.y, [1, 0, 1])
    assert dataset.classes == ("cat", "dog")
    assert dataset.feature_names == ("x0", "x1")
    first = table(tmp_path, "dog,1,2\ncat,3,4\n", 0)
    assert first.classes == ("cat", "dog")
    assert first.feature_names == ("x1", "x2")


def test_csv_with_quotes_a_byte_order_mark_and_words_for_a_target(tmp_path):
    dataset = table(tmp_path, '\ufeff"width, cm",kind\n1,"a, b"\n2,c\n')
    assert dataset.feature_names == ("width, cm",)
    assert dataset.classes == ("a, b", "c")


def test_the_task_that_is_taken(tmp_path):
    few = "x,y\n" + "\n".join(f"{i},{i % 3}" for i in range(12))
    assert table(tmp_path, few).classes == (0, 1, 2)
    assert table(tmp_path, few, task="regression").task == "regression"
    many = "x,y\n" + "\n".join(f"{i},{i}" for i in range(12))
    assert table(tmp_path, many).task == "regression"
    assert len(table(tmp_path, many, task="classification").classes) == 12
    with pytest.raises(ValueError, match="`task` must be"):
        table(tmp_path, few, task="ranking")
    with pytest.raises(ValueError, match="'y' holds 'cat', and a regression needs numbers"):
        table(tmp_path, "x,y\n1,cat\n2,dog\n", task="regression")


@given(
    X=st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e6, 1e6)), min_size=1, max_size=5
    ),
    delimiter=st.sampled_from(",;\t"),
)
def test_csv_round_trip(tmp_path_factory, X, delimiter):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    lines = [delimiter.join("abc")] + [delimiter.join([*map(repr, row), "0.5"]) for row in X]
    path.write_text("\n".join(lines))
    np.testing.assert_array_equal(read_table(path).X, X)


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", None, "is empty"),
        ("a,b,c\n", None, "has a line of names and no data"),
        ("a\n1\n2\n", None, "has one column (a)"),
        ("a,a,b\n1,2,3\n", None, "more than one column named a"),
        ("a,b,c\n1,2,3\n1,2\n", None, "row 3: 2 cells where the first row has 3"),
        ("a,b,c\n1,,3\n", None, "row 2, column 'b': the value is missing ('')"),
        ("a,b,c\n1,2,NaN\n", None, "row 2, column 'c': the value is missing ('NaN')"),
        ("a,b,c\n1,2,3\n1,red,3\n", None, "row 3, column 'b': 'red' is no number"),
        ("a,b,c\n1,1_0,3\n", None, "'1_0' is no number"),
        ("alpha,b,c\n1,2,3\n", "alpa", "no column `target`='alpa': it has alpha, b, c. Did you mean 'alpha'?"),
        ("1,2,3\n4,5,6\n", "price", "it has no line of names"),
        ("a,b\n1,2\n", 2, "no column at `target`=2: it has 2 columns"),
        ("a,b\n1,2\n", "-3", "no column at `target`=-3"),
        ('a,b\n1,"2\n', None, "is no readable table"),
    ],
)
def test_broken_csv_files(tmp_path, text, target, message):
    with pytest.raises(ValueError, match=r"table\.csv") as caught:
        table(tmp_path, text, target)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"\xff\xfe\x00a,b")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        read_table(tmp_path / "table.csv")
    with pytest.raises(ValueError, match=r"must end in \.csv or \.npz"):
        read_table(tmp_path / "table.xlsx")
    with pytest.raises(ValueError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_table(tmp_path / "nowhere.npz")


def test_npz(tmp_path):
    path = tmp_path / "data.npz"
    X = np.arange(6, dtype=np.int16).reshape(3, 2)
    np.savez(path, X=X, y=np.array([0.5, 1.5, 2.5]), label=np.array(["a", "b", "a"]))
    dataset = read_table(path)
    assert (dataset.task, dataset.X.dtype, dataset.target_name) == ("regression", np.float64, "y")
    np.testing.assert_array_equal(dataset.X, X)
    named = read_table(path, "label")
    assert named.classes == ("a", "b")
    np.testing.assert_array_equal(named.y, [0, 1, 0])


@pytest.mark.parametrize(
    ("arrays", "target", "message"),
    [
        ({"X": np.ones((2, 2))}, None, "it lacks y and holds X"),
        ({"X": np.ones((2, 2)), "y": np.ones(2)}, "z", "it lacks z and holds X, y"),
        ({"X": np.ones((2, 2)), "y": np.ones(3)}, None, "got (2, 2) and (3,)"),
        ({"X": np.ones(2), "y": np.ones(2)}, None, "got (2,) and (2,)"),
        ({"X": np.array([["a"]]), "y": np.ones(1)}, None, "X must hold real numbers"),
        ({"X": np.ones((1, 1)), "y": np.ones(1) * 1j}, None, "y must hold real numbers or words"),
        ({"X": np.ones((1, 1)), "y": np.array([{}])}, None, "is no readable .npz file"),
        ({"X": np.ones((1, 1)), "y": np.ones(1)}, 0, "`target` must name an array"),
    ],
)
def test_broken_npz_files(tmp_path, arrays, target, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"data\.npz") as caught:
        read_table(path, target)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 truncated"])
def test_npz_files_of_something_else(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.npz is no readable \.npz file"):
        read_table(path)
    np.save(tmp_path / "single.npy", np.ones(2))
    path.write_bytes((tmp_path / "single.npy").read_bytes())
    with pytest.raises(ValueError, match="single array"):
        read_table(path)


def changed(**values):
    return dataclasses.replace(named_dataset("iris"), **values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.array([[1.0, 2, np.nan, 4]] * 150)}, "nan in row 0, column 'petal length (cm)' (150 such"),
        ({"X": np.full((150, 4), np.inf)}, "inf in row 0"),
        ({"X": np.ones((3, 4))}, "have shapes (3, 4) and (150,)"),
        ({"X": np.ones((0, 4)), "y": np.ones(0)}, "are empty: 0 rows"),
        ({"X": np.ones((150, 0))}, "are empty: 150 rows, 0 features"),
        ({"y": np.r_[np.nan, np.ones(149)]}, "target 'class' of 'iris' holds nan in row 0"),
        ({"classes": ("setosa",)}, "has one class only ('setosa')"),
        ({"X_test": np.full((1, 4), np.nan), "y_test": np.ones(1)}, "The test data of 'iris' hold nan"),
    ],
)
def test_data_that_nothing_can_be_fitted_to(change, message):
    with pytest.raises(ValueError, match="iris") as caught:
        check_dataset(changed(**change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

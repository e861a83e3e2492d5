import csv
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from secondlook.data import DATA_SETS, SUPERCLASSES, DataError, canonical, fetch, images, load, sources, summary
from secondlook.recipe import Data

ROOT = Path(__file__).parents[1]
FIELDS = ("x_train", "y_train", "x_test", "y_test", "hashes_train", "hashes_test")


def arrays(name="cifar10", train=30, test=12) -> dict[str, np.ndarray]:
    rng, known = np.random.default_rng(0), DATA_SETS[name]
    made = {}
    for split, n in (("train", train), ("test", test)):
        made[f"x_{split}"] = rng.integers(0, 256, (n, *known.shape), dtype=np.uint8)
        made[f"y_{split}"] = rng.integers(0, len(known.class_names), n, dtype=np.uint8)
    return made


@pytest.fixture
def pinned(monkeypatch):
    """Pins the digest of small made-up arrays, so that they count as the real set."""

    def pin(made, name="cifar10"):
        known = images.DATA_SETS[name]
        digest = canonical(name, "npz", made).digest
        monkeypatch.setitem(images.DATA_SETS, name, images.DataSet(known.title, known.shape, known.class_names, digest))
        return made

    return pin


def refused(folder, *words, name="cifar10", source="official"):
    """Loading is refused by a message that names the file and the way out, and says `words`."""
    with pytest.raises(DataError) as caught:
        load(Data(name=name, source=source), folder)
    message = str(caught.value)
    for word in (f"{name}.npz", f"secondlook data fetch {name}", *words):
        assert word in message
    return message


def test_a_shuffled_copy_gives_the_same_images(tmp_path, pinned):
    made = pinned(arrays())
    np.savez(tmp_path / "cifar10.npz", **made)
    one = load(Data(), tmp_path)
    for split in ("train", "test"):
        order = np.random.default_rng(1).permutation(len(made[f"y_{split}"]))
        made[f"x_{split}"], made[f"y_{split}"] = made[f"x_{split}"][order], made[f"y_{split}"][order]
    np.savez_compressed(tmp_path / "cifar10.npz", **made)
    other = load(Data(source="npz"), tmp_path)
    assert (one.digest, one.source, one.title) == (other.digest, "npz", "CIFAR-10")
    assert all((getattr(one, field) == getattr(other, field)).all() for field in FIELDS)


def test_canonical_order_is_by_hash_of_the_pixels_then_label():
    made = arrays()
    made["x_train"][:3] = made["x_train"][0]
    made["y_train"][:3] = (7, 2, 5)
    found = canonical("cifar10", "npz", made)
    keys = [(hashlib.sha256(x.tobytes()).digest(), y) for x, y in zip(found.x_train, found.y_train.tolist())]
    assert keys == sorted(keys)
    assert [h.tobytes() for h in found.hashes_train] == [key for key, _ in keys]
    assert sorted(y for _, y in keys) == sorted(made["y_train"].tolist())


@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test", "y_test"])
def test_the_digest_covers_every_pixel_and_label(key):
    made = arrays()
    before = canonical("cifar10", "npz", made).digest
    made[key][(-1,) * made[key].ndim] ^= 1
    assert canonical("cifar10", "npz", made).digest != before


def test_pinned_digests_are_of_the_real_sets():
    assert [len(known.digest) for known in DATA_SETS.values()] == [64, 64, 64]
    assert len({known.digest for known in DATA_SETS.values()}) == 3


def test_a_flipped_byte_is_refused_by_name(tmp_path, pinned):
    file = tmp_path / "cifar10.npz"
    np.savez(file, **pinned(arrays()))
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    assert "CRC" in refused(tmp_path, str(file), "delete it")


def test_a_flipped_byte_with_a_mended_checksum_is_refused_by_name(tmp_path, pinned):
    made = pinned(arrays())
    made["x_test"][3, 1, 2, 0] ^= 1
    np.savez(tmp_path / "cifar10.npz", **made)
    refused(tmp_path, "not CIFAR-10's", "digest", "delete it")


def test_another_set_under_the_name_is_refused(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **arrays())
    refused(tmp_path, "not CIFAR-10's")
    np.savez(tmp_path / "mnist.npz", **arrays())
    refused(tmp_path, "uint8 (30, 32, 32, 3)", "expected uint8 (n, 28, 28)", name="mnist")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused_by_name(tmp_path, pinned, share):
    file = tmp_path / "cifar10.npz"
    np.savez(file, **pinned(arrays()))
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    refused(tmp_path, "not a readable .npz")


def test_what_is_no_archive_is_refused(tmp_path):
    file = tmp_path / "cifar10.npz"
    file.write_text("<html>404</html>")
    refused(tmp_path, "not a readable .npz")
    with file.open("wb") as handle:
        np.save(handle, np.zeros(3))
    refused(tmp_path, "not a readable .npz")


def test_a_missing_array_is_named(tmp_path):
    made = arrays()
    del made["y_test"]
    np.savez(tmp_path / "cifar10.npz", **made)
    refused(tmp_path, "no y_test in it")


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_pickled_arrays_are_refused_and_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "cifar10.npz", **(arrays() | {"y_test": np.array([Bomb()], object)}))
    refused(tmp_path, "not a readable .npz", "allow_pickle=False")
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("x_train", lambda x: x.astype(np.float32), "x_train is float32 (30, 32, 32, 3)"),
        ("x_train", lambda x: x.transpose(0, 3, 1, 2), "x_train is uint8 (30, 3, 32, 32)"),
        ("x_test", lambda x: x[:0], "x_test is uint8 (0, 32, 32, 3)"),
        ("y_train", lambda y: y.astype(np.int64), "y_train is int64 (30,)"),
        ("y_train", lambda y: y[:, None], "y_train is uint8 (30, 1)"),
        ("y_train", lambda y: y[:-1], "29 labels for 30 images"),
        ("y_test", lambda y: y + 5, "y_test has the label"),
        ("y_test", lambda y: np.uint8(3), "y_test is uint8 ()"),
    ],
)
def test_a_wrong_shape_or_type_is_said(tmp_path, key, change, said):
    made = arrays()
    made["y_test"][0] = 9
    np.savez(tmp_path / "cifar10.npz", **(made | {key: change(made[key])}))
    refused(tmp_path, said)


def test_missing_files_tell_how_to_get_them(tmp_path):
    for source in ("official", "npz"):
        refused(tmp_path, "no such file", "make data", "x_train, y_train, x_test, y_test", source=source)


def test_what_is_not_a_set_of_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="'gaussians' is not a set of images"):
        load(Data(name="gaussians"), tmp_path)


def official_cifar(folder, made, monkeypatch, md5=None):
    """Files as CIFAR-10's authors lay them out, with their digests in torchvision's table."""
    from torchvision.datasets import CIFAR10

    place = folder / sources.OFFICIAL["cifar10"]
    place.mkdir(parents=True)

    def write(name, value):
        (place / name).write_bytes(pickle.dumps(value, protocol=2))
        return md5 or hashlib.md5((place / name).read_bytes()).hexdigest()

    for split, files in (("train", ["data_batch_1", "data_batch_2"]), ("test", ["test_batch"])):
        rows = np.array_split(made[f"x_{split}"].transpose(0, 3, 1, 2).reshape(len(made[f"y_{split}"]), -1), len(files))
        labels = np.array_split(made[f"y_{split}"], len(files))
        entries = [{"data": x, "labels": y.tolist()} for x, y in zip(rows, labels)]
        monkeypatch.setattr(CIFAR10, f"{split}_list", [[f, write(f, e)] for f, e in zip(files, entries)])
    meta = write("batches.meta", {"label_names": list(DATA_SETS["cifar10"].class_names)})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    return place


def official_mnist(folder, made):
    place = folder / sources.OFFICIAL["mnist"]
    place.mkdir(parents=True)
    for split, start in (("train", "train"), ("test", "t10k")):
        x, y = made[f"x_{split}"], made[f"y_{split}"]
        (place / f"{start}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, *x.shape) + x.tobytes())
        (place / f"{start}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, len(y)) + y.tobytes())


def test_official_cifar_files_and_the_npz_give_the_same_images(tmp_path, pinned, monkeypatch):
    made = pinned(arrays())
    official_cifar(tmp_path, made, monkeypatch)
    one = load(Data(), tmp_path)
    assert one.source == "official"
    assert fetch("cifar10", tmp_path) == tmp_path / "cifar10.npz"
    other = load(Data(), tmp_path)
    assert other.source == "npz"
    assert all((getattr(one, field) == getattr(other, field)).all() for field in FIELDS)
    assert not [*tmp_path.glob("*.part")]


def test_official_mnist_files_are_read(tmp_path, pinned):
    made = pinned(arrays("mnist"), "mnist")
    official_mnist(tmp_path, made)
    assert load(Data(name="mnist"), tmp_path).digest == images.DATA_SETS["mnist"].digest
    made["x_test"][0, 0, 0] ^= 1
    file = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:16] + made["x_test"].tobytes())
    with pytest.raises(DataError, match="not MNIST's"):
        load(Data(name="mnist"), tmp_path)


def test_an_official_file_of_another_digest_is_never_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = official_cifar(tmp_path, arrays(), monkeypatch)
    (place / "data_batch_2").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="data_batch_2 is not the official file; delete"):
        load(Data(), tmp_path)
    assert not Path("exploded").exists()
    (place / "data_batch_2").unlink()
    with pytest.raises(DataError, match="data_batch_2 is missing"):
        load(Data(), tmp_path)


def test_a_failed_download_says_what_else_can_be_done(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(sources, "_torchvision", lambda _: offline)
    with pytest.raises(DataError, match=r"CIFAR-10 could not be downloaded \(no route to host\).*put cifar10.npz"):
        fetch("cifar10", tmp_path)
    assert not (tmp_path / "cifar10.npz").exists()


def test_a_download_becomes_a_canonical_npz_and_leaves_nothing_else(tmp_path, pinned, monkeypatch):
    made = pinned(arrays())
    reader = sources._torchvision("cifar10")

    def download(root, train=True, download=False):
        if download and not (Path(root) / sources.OFFICIAL["cifar10"]).exists():
            official_cifar(Path(root), made, monkeypatch)
        return reader(root, train=train)

    monkeypatch.setattr(sources, "_torchvision", lambda _: download)
    fetch("cifar10", tmp_path)
    assert load(Data(source="npz"), tmp_path).digest == images.DATA_SETS["cifar10"].digest
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["cifar10.npz"]


def test_fetch_refuses_a_damaged_file_that_is_there(tmp_path):
    (tmp_path / "cifar10.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="delete it"):
        fetch("cifar10", tmp_path)


def test_the_summary_tells_verified_damaged_and_missing_apart(tmp_path, pinned):
    np.savez(tmp_path / "cifar10.npz", **pinned(arrays()))
    (tmp_path / "cifar100.npz").write_bytes(b"PK")
    rows = {row["name"]: row for row in summary(tmp_path)}
    assert rows["cifar10"]["state"] == "verified"
    assert rows["cifar10"]["digest"] == images.DATA_SETS["cifar10"].digest[:12]
    assert "not a readable .npz" in rows["cifar100"]["state"]
    assert (rows["mnist"]["state"], rows["mnist"]["where"], rows["mnist"]["digest"]) == ("missing", "", "")


def test_class_names_are_those_of_the_reports_table():
    with (ROOT / "reports" / "cifar100_classes.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert DATA_SETS["cifar100"].class_names == tuple(
        row["class"] for row in sorted(rows, key=lambda r: int(r["label"]))
    )
    assert all(row["class"] in SUPERCLASSES[row["superclass"]] for row in rows)

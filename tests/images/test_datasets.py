from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from embedkit.errors import EmptySourceError, ManifestError, UnreadableImageError, UsageError
from embedkit.images import open_source, read_bytes, rows_of, to_rgb
from embedkit.specs import DecodeSpec


class Pairs:
    """A torch data set: a length, and items (image, label)."""

    def __init__(self, items):
        self.items = items
        self.asked = []

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.asked.append(index)
        item = self.items[index]
        if isinstance(item, Exception):
            raise item
        return item


class ImageFeature:
    dtype = "PIL.Image.Image"

    def __init__(self, decode=True):
        self.decode = decode


class Value:
    dtype = "string"


class ClassLabel:
    dtype = "int64"
    names = ["cat", "dog"]


class Columns:
    """What is used of a ``datasets.Dataset``."""

    def __init__(self, columns, features):
        self.columns_ = columns
        self.features = features

    @property
    def column_names(self):
        return list(self.columns_)

    def __len__(self):
        return len(next(iter(self.columns_.values())))

    def __getitem__(self, index):
        if isinstance(index, str):
            assert index != "image", "the images must not be loaded as a column"
            return self.columns_[index]
        assert not self.features["image"].decode, "the images must not be decoded"
        return {name: values[index] for name, values in self.columns_.items()}

    def cast_column(self, name, feature):
        return Columns(self.columns_, {**self.features, name: feature})


def test_columns_of_datasets():
    dataset = Columns(
        {
            "image": [{"bytes": b"a", "path": None}, {"bytes": None, "path": "b.jpg"}, {"bytes": None, "path": None}],
            "label": [1, 0, None],
            "split": ["train", "test", "test"],
            "who": ["Ann", None, "Bob"],
        },
        {"image": ImageFeature(), "label": ClassLabel(), "split": Value(), "who": Value()},
    )
    source = open_source(dataset)
    assert source.keys == ["0", "1", "2"]
    assert source.labels == ["dog", "cat", ""]
    assert source.split == ["train", "test", "test"]
    assert source.columns == {"who": ["Ann", "", "Bob"]}
    assert source.images[:2] == [b"a", "b.jpg"]
    with pytest.raises(UnreadableImageError, match="^not an image: dict$"):
        read_bytes(source.images[2])
    assert open_source(dataset, label_column="who").label_classes == ["Ann", "Bob"]
    with pytest.raises(ManifestError, match="no column 'x' for the labels; further columns found: label, split, who"):
        open_source(dataset, label_column="x")


def test_columns_without_an_image():
    with pytest.raises(ManifestError, match="no column 'image' or 'img'; columns found: picture"):
        open_source(Columns({"picture": [1]}, {"picture": Value()}))


def test_pairs(photo):
    dataset = Pairs([(photo, 3), (photo.rotate(90), 5)])
    source = open_source(dataset)
    assert source.keys == ["0", "1"]
    assert source.labels == ["3", "5"]
    assert source.images[0] is photo
    assert source.images[-1] is source.images[1]
    assert len(source.images) == 2
    assert rows_of(dataset).labels == ["3", "5"]


def test_targets_spare_a_pass_over_the_images(photo):
    dataset = Pairs([(photo, np.int64(i % 2)) for i in range(1000)])
    dataset.targets = np.arange(1000) % 2
    dataset.classes = ["no", "yes"]
    source = open_source(dataset)
    assert source.labels == ["no", "yes"] * 500
    assert len(dataset.asked) < 20


def test_dicts(photo):
    dataset = Pairs([{"img": photo, "label": 0.5, "other": "x"}, {"img": photo, "label": 2.25, "other": "y"}])
    assert open_source(dataset).labels.tolist() == [0.5, 2.25]
    assert open_source(dataset, label_column="other").labels == ["x", "y"]
    with pytest.raises(ManifestError, match="no 'z' in its items for the labels; found: img, label, other"):
        open_source(dataset, label_column="z")
    assert open_source(Pairs([{"image": photo}])).labels is None
    with pytest.raises(ManifestError, match="no 'image' or 'img' in its items; found: pixels"):
        open_source(Pairs([{"pixels": photo}]))


def test_images_alone(photo):
    assert open_source(Pairs([photo, photo])).labels is None
    assert open_source(Pairs([(photo,)])).labels is None
    with pytest.raises(ManifestError, match="its items are pairs and have no 'x'"):
        open_source(Pairs([(photo, 1)]), label_column="x")


def test_tensors_are_refused_at_once():
    class Tensor:
        pass

    with pytest.raises(UsageError, match="its images are Tensor, expected a path.*take its transform off"):
        open_source(Pairs([(Tensor(), 1)]))
    with pytest.raises(EmptySourceError):
        open_source(Pairs([]))


def test_an_item_that_fails_is_a_failure_of_its_row(photo):
    dataset = Pairs([(photo, 1), OSError("disk on fire"), (3.5, 1)])
    dataset.targets = [1, 1, 0]
    source = open_source(dataset)
    assert source.images[0] is photo
    with pytest.raises(UnreadableImageError, match="^the data set raised OSError: disk on fire$"):
        read_bytes(source.images[1])
    with pytest.raises(UnreadableImageError, match="^not an image: float$"):
        read_bytes(source.images[2])


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (OSError("image file is truncated\n(8 bytes not processed)"), r"OSError: image file is truncated \(8 bytes"),
        (ValueError("no label"), "^the data set raised ValueError: no label$"),
        (None, "^not an image: missing$"),
        ((None, 1), "^not an image: missing$"),
    ],
)
def test_a_damaged_item_spares_its_neighbours_when_labels_are_looked_for(photo, place, damaged, reason):
    dataset = Pairs([(photo, "a"), (photo, "b"), (photo, "a"), (photo, "b")])
    dataset.items[place] = damaged
    source = open_source(dataset)
    neighbours = [row for row in range(4) if row != place]
    assert [source.images[row] for row in neighbours] == [photo] * 3
    assert [source.labels[row] for row in neighbours] == [["a", "b", "a", "b"][row] for row in neighbours]
    with pytest.raises(UnreadableImageError, match=reason):
        read_bytes(source.images[place])


def test_an_item_without_its_label_stays_out_even_if_it_can_be_had_later(photo):
    dataset = Pairs([(photo, 0), OSError("the disk is busy")])
    source = open_source(dataset)
    dataset.items[1] = (photo, 1)
    with pytest.raises(UnreadableImageError, match="the disk is busy"):
        read_bytes(source.images[1])


@pytest.mark.parametrize("labelled", [False, True])
def test_a_data_set_that_always_fails_says_why(labelled):
    dataset = Pairs([TypeError("'NoneType' object is not callable")] * 1000)
    if labelled:
        dataset.targets = [0] * 1000
    with pytest.raises(ManifestError, match="none of its first 100 items .* raised TypeError: 'NoneType'") as raised:
        open_source(dataset)
    assert isinstance(raised.value.__cause__, TypeError)
    assert len(dataset.asked) == 100
    with pytest.raises(ManifestError, match="none of its first 3 items can be had, they are None"):
        open_source(Pairs([None] * 3))


def test_one_thread_at_a_time(photo):
    inside, most = [], []

    class Slow(Pairs):
        def __getitem__(self, index):
            inside.append(index)
            most.append(len(inside))
            time.sleep(0.001)
            inside.remove(index)
            return super().__getitem__(index)

    source = open_source(Slow([photo] * 20))
    threads = [threading.Thread(target=source.images.__getitem__, args=(row,)) for row in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) >= 20


class Folder(Pairs):
    """What torchvision's ImageFolder has: samples, targets, classes, and perhaps a transform of the targets."""

    def __init__(self, images, targets, classes=("cat", "dog"), target_transform=None):
        super().__init__(images)
        self.samples = [(image, target) for image, target in zip(images, targets, strict=True)]
        self.targets = list(targets)
        self.classes = list(classes)
        self.target_transform = target_transform

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        image, target = self.samples[index]
        return image, self.target_transform(target) if self.target_transform else target


def test_targets_are_believed_only_where_the_items_say_the_same(photo):
    targets = [0, 1] * 12
    shifted = Folder([photo] * 24, targets)
    shifted.samples.insert(0, shifted.samples.pop())
    longer, shorter, edited = (Folder([photo] * 24, targets) for _ in range(3))
    longer.targets = targets + [0] * 16
    shorter.targets = targets[:12]
    edited.samples = edited.samples[1:]
    assert open_source(Folder([photo] * 24, targets)).notes == []
    for dataset, words in (
        (shifted, "its 'targets' and its 'samples' do not agree"),
        (longer, "its 'targets' has 40 entries for 24 items"),
        (shorter, "its 'targets' has 12 entries for 24 items"),
        (edited, "its 'targets' has 24 entries for 23 items"),
    ):
        source = open_source(dataset)
        assert source.labels == [["cat", "dog"][target] for _, target in dataset.samples]
        assert words in source.notes[0]
    no_samples = Pairs([(photo, 1 - target) for target in targets])
    no_samples.targets = targets
    assert open_source(no_samples).labels == [str(1 - target) for target in targets]


def test_targets_that_are_transformed_are_read_from_the_items(photo):
    dataset = Folder([photo] * 4, [0, 1, 1, 0], target_transform=lambda target: "odd" if target else "even")
    source = open_source(dataset)
    assert source.labels == ["even", "odd", "odd", "even"]
    assert "'target_transform' changes" in source.notes[0]
    dataset.target_transform = lambda target: 7 + target
    assert open_source(dataset).labels == ["7", "8", "8", "7"]


def test_classes_and_their_indices(photo):
    with pytest.raises(ManifestError, match="'cat' names more than one class"):
        open_source(Folder([photo] * 2, [0, 1], ["cat", "cat"]))
    assert open_source(Folder([photo] * 3, [0, -1, 1])).labels == ["cat", "", "dog"]
    with pytest.raises(ManifestError, match="label 2, expected -1 to 1"):
        open_source(Folder([photo] * 3, [0, 2, 1]))


def test_class_labels_of_datasets():
    image = [{"bytes": b"a", "path": None}] * 3

    class Twice(ClassLabel):
        names = ["cat", "cat"]

    source = open_source(
        Columns({"image": image, "label": [-1, 0, 1]}, {"image": ImageFeature(), "label": ClassLabel()})
    )
    assert source.labels == ["", "cat", "dog"]
    with pytest.raises(ManifestError, match="'cat' names more than one class"):
        open_source(Columns({"image": image, "label": [0, 1, 1]}, {"image": ImageFeature(), "label": Twice()}))
    texts = {"image": image, "label": ["3.10", "3.1", "2.7"]}
    assert open_source(Columns(texts, {"image": ImageFeature(), "label": Value()})).labels == ["3.10", "3.1", "2.7"]
    with pytest.raises(ManifestError, match="2 labels for 3 images, expected one each"):
        open_source(Columns({"image": image, "label": [0, 1]}, {"image": ImageFeature(), "label": ClassLabel()}))


def test_tensors_and_rows_are_images(photo):
    torch = pytest.importorskip("torch")
    array = np.asarray(photo)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    expected = to_rgb(photo, DecodeSpec())
    stacked = torch.stack([tensor, tensor])
    for rows in (
        stacked,
        stacked.float() / 255,
        [tensor, tensor.float() / 255],
        [{"image": photo}, {"image": tensor}],
        Pairs([(tensor, 1), (tensor, 0)]),
        stacked.permute(0, 2, 3, 1),
    ):
        source = open_source(rows)
        assert len(source) == 2
        for ref in source.images:
            np.testing.assert_array_equal(to_rgb(ref, DecodeSpec()), expected)
    assert open_source(Pairs([(tensor, 1), (tensor, 0)])).labels == ["1", "0"]
    rows = [{"image": photo, "label": "a"}, {"image": photo, "label": None}]
    assert open_source(rows).labels == ["a", ""]
    assert rows_of([{"image": photo}]).images == [photo]
    with pytest.raises(UsageError, match="its floats reach from 0 to"):
        open_source(stacked.float())

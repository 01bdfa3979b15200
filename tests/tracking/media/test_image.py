from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sink import FolderSink

from lineart.storage.errors import IntegrityError, NotFoundError, SourceChangedError, UsageError
from lineart.tracking.media import Image, as_media, load_media
from lineart.tracking.media.pixels import to_uint8


def round_trip(image: Image, sink: FolderSink) -> Image:
    value = json.loads(json.dumps(image.to_value(sink), allow_nan=False))
    assert value["_type"] == "image-file"
    again = load_media(value, sink)
    assert isinstance(again, Image)
    assert again == image
    assert json.loads(json.dumps(again.to_value(sink))) == value  # logged again, it is the same value
    return again


@pytest.mark.parametrize(
    "shape, mode",
    [((4, 5), "L"), ((4, 5, 1), "L"), ((4, 5, 2), "LA"), ((4, 5, 3), "RGB"), ((4, 5, 4), "RGBA")],
)
def test_array_comes_back_as_its_pixels(shape: tuple[int, ...], mode: str, sink: FolderSink) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    again = round_trip(Image(pixels, caption="a\nb"), sink)
    assert (again.width, again.height, again.format, again.caption) == (5, 4, "png", "a\nb")
    assert again.image.mode == mode
    assert np.array_equal(again.array, pixels.reshape(again.array.shape))


@pytest.mark.parametrize(
    "values, pixels",
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 1.5, 255.0], [0, 2, 255]),
        ([-10.0, 0.0, 10.0], [0, 128, 255]),
        ([0, 1, 1], [0, 1, 1]),  # whole numbers are pixels already: dark stays dark
        ([0, 1000, 2000], [0, 128, 255]),
        ([-1, 0, 1], [0, 128, 255]),
        ([True, False, True], [255, 0, 255]),
        ([float("nan"), 0.5, 1.0], [0, 128, 255]),
        ([float("-inf"), 0.0, float("inf")], [0, 0, 0]),
        ([float("nan")] * 3, [0, 0, 0]),
        ([-1e308, 0.0, 1e308], [0, 128, 255]),
        ([300.0, 300.0, 300.0], [255, 255, 255]),
        ([-7.0, -7.0, -7.0], [0, 0, 0]),
    ],
)
def test_numbers_become_pixels_by_the_written_rule(values: list[Any], pixels: list[int]) -> None:
    assert to_uint8(np.array(values)).tolist() == pixels


def test_pixels_are_clipped_when_normalizing_is_off() -> None:
    assert to_uint8(np.array([-5.0, 0.6, 300.0]), normalize=False).tolist() == [0, 1, 255]


def test_array_may_be_reused_after_the_image_is_made(sink: FolderSink) -> None:
    buffer = np.zeros((2, 2), np.uint8)
    image = Image(buffer)
    buffer[:] = 255
    assert round_trip(image, sink).array.max() == 0


def test_same_picture_twice_is_one_file(sink: FolderSink) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    first, second = Image(pixels).to_value(sink), Image(pixels.copy(), caption="again").to_value(sink)
    assert first["path"] == second["path"]
    assert len(sink.files()) == 1


def test_torch_tensor_has_its_channels_first(sink: FolderSink) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.rand(3, 4, 6, requires_grad=True)
    again = round_trip(Image(tensor), sink)
    expected = np.rint(tensor.detach().numpy().transpose(1, 2, 0).astype(float) * 255)
    assert np.array_equal(again.array, expected)
    assert Image(torch.rand(4, 6, dtype=torch.bfloat16)).width == 6
    tiled = Image(torch.rand(5, 1, 4, 6))  # a batch: three columns, two rows
    assert (tiled.width, tiled.height) == (18, 8)


def test_tensor_is_recognised_without_torch() -> None:
    class Tensor:
        dtype = "torch.float32"
        __module__ = "torch"

        def detach(self) -> Tensor:
            return self

        cpu = detach

        def numpy(self) -> Any:
            return np.zeros((1, 2, 3))

    assert (Image(Tensor()).width, Image(Tensor()).height) == (3, 2)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16", "LA", "HSV"]
)
@pytest.mark.parametrize("file_type", ["png", "jpg", "webp", "bmp", "gif", "tiff"])
def test_every_pillow_mode_is_written_in_every_format(mode: str, file_type: str, sink: FolderSink) -> None:
    picture = PIL.Image.new(mode, (3, 2))
    again = round_trip(Image(picture, file_type=file_type), sink)
    assert again.image.size == (3, 2)
    assert again.format == file_type


def test_transparent_pixels_become_white_where_the_format_has_none() -> None:
    image = Image(PIL.Image.new("RGBA", (8, 8), (255, 0, 0, 0)), file_type="jpg")
    assert image.array.min() >= 250


def test_mode_converts() -> None:
    assert Image(np.zeros((2, 2, 3)), mode="L").image.mode == "L"
    with pytest.raises(UsageError, match="mode 'nope'"):
        Image(np.zeros((2, 2, 3)), mode="nope")


@pytest.fixture
def figure() -> Any:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    made, axes = pyplot.subplots(figsize=(2, 1), dpi=100)
    axes.plot([1, 3, 2])
    yield made
    pyplot.close(made)


def test_figure_axes_and_pyplot_are_drawn(figure: Any, sink: FolderSink) -> None:
    from matplotlib import pyplot

    again = round_trip(Image(figure), sink)
    assert (again.width, again.height) == (200, 100)
    line = figure.axes[0].lines[0]
    for given in (figure.axes[0], line, pyplot, figure):
        made = as_media(given)
        assert isinstance(made, Image)
        assert made == Image(figure)
    assert Image(figure, mode="L").image.mode == "L"
    assert Image(figure, file_type="jpg").format == "jpg"
    assert Image(figure).image.convert("L").histogram()[0] > 0  # something is drawn


def test_figure_that_cannot_be_drawn_is_a_clear_error(figure: Any) -> None:
    figure.axes[0].set_title("$\\frac{$")
    with pytest.raises(UsageError, match="matplotlib cannot draw the figure"):
        Image(figure)


def test_file_is_kept_byte_for_byte(tmp_path: Path, sink: FolderSink) -> None:
    path = tmp_path / "Photo.JPG"
    PIL.Image.new("RGB", (7, 3), "red").save(path, "JPEG")
    for given in (path, str(path)):
        again = round_trip(Image(given), sink)
        assert again.read() == path.read_bytes()
        assert (again.width, again.height, again.format) == (7, 3, "jpg")
    assert again.save(tmp_path / "copy.jpg").read_bytes() == path.read_bytes()


def test_drawing_is_kept_without_a_size(tmp_path: Path, sink: FolderSink) -> None:
    path = tmp_path / "x.svg"
    path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    again = round_trip(Image(path), sink)
    assert (again.width, again.format) == (None, "svg")
    assert "image/svg+xml" in again._repr_html_()


def test_file_written_again_before_logging_is_refused(tmp_path: Path, sink: FolderSink) -> None:
    path = tmp_path / "x.png"
    PIL.Image.new("L", (2, 2)).save(path)
    image = Image(path)
    PIL.Image.new("L", (9, 9)).save(path)
    with pytest.raises(SourceChangedError, match=r"x\.png was written after"):
        image.to_value(sink)


def test_bad_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="missing"):
        Image(tmp_path / "missing.png")
    with pytest.raises(UsageError, match="is not a file"):
        Image(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UsageError, match=r"text\.png is not a picture"):
        Image(tmp_path / "text.png")
    with pytest.raises(UsageError, match="cannot be opened"):
        Image("a\0b.png")


@pytest.mark.parametrize(
    "given, message",
    [
        (np.zeros((3, 8, 8)), r"shape \(3, 8, 8\).*transpose\(1, 2, 0\)"),
        (np.zeros((2, 8, 8, 3)), "a list of Images"),
        (np.zeros((0, 8, 3)), "has no pixels"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.array(["a"]), "holds <U1"),
        (np.zeros((2, 2), complex), "holds complex"),
        (object(), "holds object"),
        ([[1, 2], [3]], "not an array of numbers"),
    ],
)
def test_what_is_no_picture_is_refused(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Image(given)


def test_unknown_file_type_is_refused() -> None:
    with pytest.raises(UsageError, match=r"file_type 'xyz'.*png"):
        Image(np.zeros((2, 2)), file_type="xyz")


def test_missing_pillow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(UsageError, match=r'needs pillow.*pip install "lineart\[media\]"'):
        Image(np.zeros((2, 2)))


# Masks and boxes

MASK = np.array([[0, 1, 1], [2, 2, 0]])
BOX = {"position": {"minX": 0.1, "maxX": 0.5, "minY": 0, "maxY": 1}, "class_id": 1}


def test_mask_comes_back_with_its_classes(sink: FolderSink) -> None:
    masks = {
        "prediction": {"mask_data": MASK, "class_labels": {0: "sky", 1: "sea"}},
        "truth": {"mask_data": MASK.astype(float) * 300},
    }
    image = Image(np.zeros((2, 3)), masks=masks, classes=[{"id": 0, "name": "land"}])
    again = round_trip(image, sink)
    assert again.masks["prediction"].class_labels == {0: "sky", 1: "sea"}
    assert again.masks["truth"].class_labels == {0: "land"}
    assert np.array_equal(again.masks["prediction"].data, MASK)
    assert np.array_equal(again.masks["truth"].data, MASK * 300)  # above 255: 16 bits
    assert Image(again, caption="again").masks == image.masks


def test_mask_may_be_a_file(tmp_path: Path, sink: FolderSink) -> None:
    path = tmp_path / "mask.png"
    PIL.Image.fromarray(MASK.astype(np.uint8)).save(path)
    again = round_trip(Image(np.zeros((2, 3)), masks={"m": {"path": path}}), sink)
    assert np.array_equal(again.masks["m"].data, MASK)
    PIL.Image.new("RGB", (3, 2)).save(path)
    with pytest.raises(UsageError, match="mode is RGB"):
        Image(np.zeros((2, 3)), masks={"m": {"path": path}})


@pytest.mark.parametrize(
    "mask, message",
    [
        ({"mask_data": np.zeros((5, 5), int)}, r"mask 'm'.*5 × 5 pixels, the picture 3 × 2"),
        ({"mask_data": MASK - 1}, "classes -1 to 1"),
        ({"mask_data": MASK + 0.5}, "fractions"),
        ({"mask_data": np.zeros((2, 3, 3), int)}, r"shape \(2, 3, 3\)"),
        ({"mask_data": MASK * 70000}, "expected 0 to 65535"),
        ({}, "mask_data"),
        ("mask.png", "got str"),
        ({"mask_data": MASK, "class_labels": {"a": "b"}}, "class 'a' is not a whole number"),
        ({"mask_data": MASK, "class_labels": 3}, r"expected \{number: name\}"),
    ],
)
def test_bad_masks_are_refused(mask: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Image(np.zeros((2, 3)), masks={"m": mask})


def test_boxes_come_back(sink: FolderSink) -> None:
    boxes = [
        {**BOX, "scores": {"acc": np.float32(0.5), "nan": float("nan")}, "box_caption": "a cat"},
        {
            "position": {"middle": (1, np.int64(2)), "width": 3, "height": 4},
            "domain": "pixel",
            "class_id": np.int64(0),
        },
    ]
    image = Image(np.zeros((2, 3)), boxes={"b": {"box_data": boxes, "class_labels": {1: "cat"}}})
    value = image.to_value(sink)
    again = load_media(json.loads(json.dumps(value)), sink)
    assert isinstance(again, Image)
    first, second = again.boxes["b"].box_data
    assert str(first["scores"]) == "{'acc': 0.5, 'nan': nan}"
    assert first["position"] == BOX["position"]
    assert second == {
        "position": {"middle": [1, 2], "width": 3, "height": 4},
        "domain": "pixel",
        "class_id": 0,
    }
    assert again.boxes["b"].class_labels == {1: "cat"}
    assert value["boxes"]["b"]["count"] == 2


@pytest.mark.parametrize(
    "box, message",
    [
        ({}, "box 0: expected a dictionary with position and class_id"),
        ({**BOX, "position": {"minX": 1}}, "expected minX, maxX, minY and maxY, or middle"),
        ({**BOX, "position": {"minX": 1, "maxX": 0, "minY": 0, "maxY": 1}}, "minX 1 is greater than maxX 0"),
        (
            {**BOX, "position": {"minX": 0, "maxX": float("nan"), "minY": 0, "maxY": 1}},
            "maxX: nan is not finite",
        ),
        ({**BOX, "position": {"minX": 0, "maxX": "1", "minY": 0, "maxY": 1}}, "'1' is not a number"),
        ({**BOX, "position": {"middle": 3, "width": 1, "height": 1}}, "expected two numbers"),
        ({**BOX, "position": {"middle": [1, 2], "width": -1, "height": 1}}, "width -1 is negative"),
        ({**BOX, "class_id": 1.5}, "class 1.5 is not a whole number"),
        ({**BOX, "class_id": -1}, "class -1 is not a whole number"),
        ({**BOX, "domain": "percent"}, "domain 'percent'"),
        ({**BOX, "scores": [1]}, r"scores '?\[1\]"),
        ({**BOX, "scores": {"a": "high"}}, "score 'a': 'high' is not a number"),
        ({**BOX, "box_captoin": "x"}, "unknown key box_captoin"),
    ],
)
def test_bad_boxes_are_refused(box: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Image(np.zeros((2, 3)), boxes={"b": {"box_data": [box]}})


def test_groups_of_the_wrong_form_are_refused() -> None:
    with pytest.raises(UsageError, match="Image boxes: expected"):
        Image(np.zeros((2, 3)), boxes=[BOX])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="box_data"):
        Image(np.zeros((2, 3)), boxes={"b": [BOX]})


# Reading back


def test_changed_bytes_are_not_handed_out(sink: FolderSink) -> None:
    value = Image(np.zeros((2, 2))).to_value(sink)
    (sink.root / value["path"]).write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="art verify"):
        Image.from_value(value, sink).read()


def test_missing_file_is_named(sink: FolderSink) -> None:
    value = Image(np.zeros((2, 2))).to_value(sink)
    (sink.root / value["path"]).unlink()
    with pytest.raises(NotFoundError, match="media/images/"):
        Image.from_value(value, sink).read()


@pytest.mark.parametrize("value", [{}, {"path": 3}, {"path": "x", "digest": "short", "size_bytes": 1}])
def test_incomplete_value_is_refused(value: dict[str, Any], sink: FolderSink) -> None:
    with pytest.raises(IntegrityError, match="expected path, digest and size_bytes"):
        load_media({"_type": "image-file", **value}, sink)
    with pytest.raises(IntegrityError, match=r"'hologram'.*image-file"):
        load_media({"_type": "hologram"}, sink)


def test_equal_pictures_are_equal_and_notebooks_show_them() -> None:
    image = Image(np.eye(3), caption="<eye>")
    assert image == Image(np.eye(3), caption="<eye>")
    assert image != Image(np.eye(3))
    assert image != Image(np.eye(4), caption="<eye>")
    assert image != 3
    assert len({image, Image(np.eye(3), caption="<eye>")}) == 1
    shown = image._repr_png_()
    assert shown is not None
    assert PIL.Image.open(io.BytesIO(shown)).size == (3, 3)
    assert "&lt;eye&gt;" in image._repr_html_()
    assert repr(image) == "<Image png, width=3, height=3, caption='<eye>'>"

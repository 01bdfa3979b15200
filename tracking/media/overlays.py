"""What lies over a picture: masks (a class for each pixel) and boxes (a class for each rectangle).

Both are given as dictionaries, one for each group such as ``"predictions"`` and ``"ground_truth"``, and are checked
when the picture is made. A mask is kept as a PNG whose pixels are the class numbers (8 bits, or 16 when a class is
above 255), boxes as JSON.
"""

from __future__ import annotations

import io
import json
import math
import operator
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from ...artifacts.recorded import shown
from ...storage.errors import IntegrityError, UsageError
from ..values import plain
from .base import FileSink, FileSource
from .content import Content, MemoryContent, StoredContent, file_value
from .optional import need
from .pixels import array_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CORNERS = ("minX", "maxX", "minY", "maxY")
_MIDDLE = ("middle", "width", "height")


def class_names(given: Any, what: str) -> dict[int, str]:
    """Names by class number, from ``{0: "cat"}`` or ``[{"id": 0, "name": "cat"}]``. Raises: UsageError."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        if not all(isinstance(item, Mapping) and {"id", "name"} <= set(item) for item in given):
            raise UsageError(f"{what}: expected dictionaries with id and name, got {str(given)[:120]}")
        pairs = [(item["id"], item["name"]) for item in given]
    else:
        raise UsageError(f"{what}: expected {{number: name}}, got {type(given).__name__} {str(given)[:80]!r}")
    names: dict[int, str] = {}
    for number, name in pairs:
        names[_class_id(number, what)] = str(name)
    return names


def _class_id(given: Any, what: str) -> int:
    # Text of digits is a key that came out of JSON.
    number: Any = int(given) if isinstance(given, str) and given.isdecimal() else given
    try:
        whole = -1 if isinstance(number, bool) else operator.index(number)
    except TypeError:
        whole = -1
    if whole < 0:
        raise UsageError(f"{what}: class {number!r} is not a whole number from 0 up")
    return whole


def _labels_json(labels: Mapping[int, str]) -> dict[str, str]:
    return {str(number): labels[number] for number in sorted(labels)}


class Mask:
    """A class number for each pixel of a picture, and the classes' names."""

    def __init__(self, content: Content, labels: Mapping[int, str], size: tuple[int, int]) -> None:
        self._content = content
        self.class_labels = dict(labels)
        self.width, self.height = size

    @classmethod
    def of(cls, given: Any, what: str, size: tuple[int | None, int | None], names: Mapping[int, str]) -> Self:
        """A mask from ``{"mask_data": 2-D array, "class_labels": {…}}`` or ``{"path": …}``.

        `size` is the picture's width and height in pixels, None when unknown. Raises: UsageError.
        """
        if not isinstance(given, Mapping) or ("mask_data" in given) == ("path" in given):
            raise UsageError(
                f"{what}: expected a dictionary with either mask_data (2-D array of class numbers) or path,"
                f" got {sorted(map(str, given)) if isinstance(given, Mapping) else type(given).__name__}"
            )
        if "path" in given:
            classes = _picture_classes(_opened(given["path"], what), what)
        else:
            classes = _checked_classes(array_of(given["mask_data"], what), what)
        height, width = classes.shape
        if None not in size and (width, height) != size:
            raise UsageError(
                f"{what}: the mask has {width} × {height} pixels, the picture {size[0]} × {size[1]}; they must agree"
            )
        labels = class_names(given.get("class_labels"), f"{what}: class_labels") or dict(names)
        return cls(MemoryContent(_encoded(classes, what), ".png"), labels, (width, height))

    @property
    def data(self) -> NDArray[Any]:
        """The class numbers, an array (height, width)."""
        image = need("PIL.Image", "a mask")
        with image.open(io.BytesIO(self._content.read())) as picture:
            return _picture_classes(picture, "mask")

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """Keep the PNG; its place and the classes' names as JSON."""
        file = self._content.put(sink, "media/images/mask")
        sizes = {"width": self.width, "height": self.height}
        return {
            "_type": "mask",
            **file,
            "format": "png",
            **sizes,
            "class_labels": _labels_json(self.class_labels),
        }

    @classmethod
    def from_value(cls, value: Mapping[str, Any], source: FileSource) -> Self:
        """The mask whose value this is."""
        content = StoredContent(source, file_value(value), ".png")
        labels = class_names(value.get("class_labels"), "mask")
        return cls(content, labels, (value.get("width", 0), value.get("height", 0)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        same = self.class_labels == other.class_labels
        return same and self._content.digest() == other._content.digest()

    __hash__ = None  # type: ignore[assignment]  # its labels can be changed


def _opened(path: str | os.PathLike[str], what: str) -> Any:
    image = need("PIL.Image", what)
    try:
        with image.open(path) as picture:
            picture.load()
            return picture
    except OSError as error:
        raise UsageError(f"{what}: cannot read {os.fspath(path)!r}: {error}") from error


def _picture_classes(picture: Any, what: str) -> NDArray[Any]:
    np = need("numpy", what)
    if picture.mode not in ("1", "L", "P", "I", "I;16"):
        raise UsageError(
            f"{what}: a mask has one channel with class numbers; the picture's mode is {picture.mode}"
        )
    return _checked_classes(np.asarray(picture), what)


def _checked_classes(array: NDArray[Any], what: str) -> NDArray[Any]:
    np = need("numpy", what)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2 or not array.size:
        raise UsageError(f"{what}: mask_data has shape {array.shape}; expected (height, width)")
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        raise UsageError(f"{what}: mask_data has fractions; expected a class number for each pixel")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise UsageError(f"{what}: mask_data has classes {low} to {high}; expected 0 to 65535")
    classes: NDArray[Any] = array.astype(np.uint8 if high <= 255 else np.uint16)
    return classes


def _encoded(classes: NDArray[Any], what: str) -> bytes:
    image = need("PIL.Image", what)
    buffer = io.BytesIO()
    image.fromarray(classes).save(buffer, "PNG")
    return buffer.getvalue()


class Boxes:
    """Rectangles over a picture, each with its class, and the classes' names."""

    def __init__(self, box_data: list[dict[str, Any]], labels: Mapping[int, str]) -> None:
        self.box_data = box_data
        self.class_labels = dict(labels)

    @classmethod
    def of(cls, given: Any, what: str, names: Mapping[int, str]) -> Self:
        """Boxes from ``{"box_data": [{"position": …, "class_id": …}], "class_labels": {…}}``. Raises: UsageError."""
        if not isinstance(given, Mapping) or not isinstance(given.get("box_data"), Sequence):
            raise UsageError(
                f"{what}: expected a dictionary with box_data (a list of boxes), got {str(given)[:120]}"
            )
        labels = class_names(given.get("class_labels"), f"{what}: class_labels") or dict(names)
        return cls([_box(box, f"{what}: box {i}") for i, box in enumerate(given["box_data"])], labels)

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """Keep the boxes as a file; its place as JSON."""
        written = {"box_data": self.box_data, "class_labels": _labels_json(self.class_labels)}
        text = json.dumps(plain(written, "boxes"), separators=(",", ":"), allow_nan=False)
        file = sink.put_bytes(text.encode(), folder="media/metadata/boxes2D", extension=".boxes2D.json")
        return {"_type": "boxes2D", **file, "format": "boxes2D.json", "count": len(self.box_data)}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], source: FileSource) -> Self:
        """The boxes whose value this is. Raises: NotFoundError, IntegrityError."""
        read = StoredContent(source, file_value(value), ".boxes2D.json").read()
        try:
            written = shown(json.loads(read))
            return cls(written["box_data"], class_names(written["class_labels"], "boxes"))
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"boxes {value['path']!r}: not readable: {error}; run art verify") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Boxes):
            return NotImplemented
        return (self.box_data, self.class_labels) == (other.box_data, other.class_labels)

    __hash__ = None  # type: ignore[assignment]  # its boxes can be changed


def _box(given: Any, what: str) -> dict[str, Any]:
    if not isinstance(given, Mapping) or "position" not in given or "class_id" not in given:
        raise UsageError(f"{what}: expected a dictionary with position and class_id, got {str(given)[:120]}")
    known = {"position", "class_id", "domain", "scores", "box_caption"}
    if set(given) - known:
        unknown = ", ".join(sorted(map(str, set(given) - known)))
        raise UsageError(f"{what}: unknown key {unknown}; expected {', '.join(sorted(known))}")
    box: dict[str, Any] = {
        "position": _position(given["position"], what),
        "class_id": _class_id(given["class_id"], what),
    }
    domain = given.get("domain")
    if domain not in (None, "pixel"):
        raise UsageError(f"{what}: domain {domain!r}; expected 'pixel', or None for fractions of the picture")
    if domain is not None:
        box["domain"] = domain
    if given.get("scores") is not None:
        scores = given["scores"]
        if not isinstance(scores, Mapping) or not all(isinstance(key, str) for key in scores):
            raise UsageError(f"{what}: scores {str(scores)[:80]!r}; expected {{name: number}}")
        box["scores"] = {key: _number(score, f"{what}: score {key!r}") for key, score in scores.items()}
    if given.get("box_caption") is not None:
        box["box_caption"] = str(given["box_caption"])
    return box


def _position(given: Any, what: str) -> dict[str, Any]:
    keys = set(given) if isinstance(given, Mapping) else set()
    if keys == set(_CORNERS):
        corners = {key: _finite(given[key], f"{what}: {key}") for key in _CORNERS}
        for low, high in (("minX", "maxX"), ("minY", "maxY")):
            if corners[low] > corners[high]:
                raise UsageError(f"{what}: {low} {corners[low]} is greater than {high} {corners[high]}")
        return corners
    if keys == set(_MIDDLE):
        middle = list(given["middle"]) if hasattr(given["middle"], "__iter__") else []
        if len(middle) != 2:
            raise UsageError(f"{what}: middle {given['middle']!r}; expected two numbers (x, y)")
        position: dict[str, Any] = {"middle": [_finite(item, f"{what}: middle") for item in middle]}
        for key in ("width", "height"):
            position[key] = _finite(given[key], f"{what}: {key}")
            if position[key] < 0:
                raise UsageError(f"{what}: {key} {position[key]} is negative")
        return position
    raise UsageError(
        f"{what}: position {str(given)[:120]}; expected minX, maxX, minY and maxY, or middle, width and height"
    )


def _number(given: Any, what: str) -> float | int:
    value = given.item() if hasattr(given, "item") else given
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{what}: {given!r} is not a number")
    return value


def _finite(given: Any, what: str) -> float | int:
    value = _number(given, what)
    if not math.isfinite(value):
        raise UsageError(f"{what}: {value} is not finite")
    return value

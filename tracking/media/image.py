"""`Image`: one picture, with a caption, masks and boxes."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from ...storage.errors import UsageError
from .base import FileSink, FileSource
from .content import Content, FileMedia, LocalContent, MemoryContent
from .figures import drawn, is_pil, matplotlib_figure
from .optional import need
from .overlays import Boxes, Mask, class_names
from .pixels import array_of, grid, is_tensor, to_uint8

if TYPE_CHECKING:
    import PIL.Image
    from numpy.typing import NDArray

_FORMATS = {
    "png": "PNG",
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "bmp": "BMP",
    "gif": "GIF",
    "webp": "WEBP",
    "tif": "TIFF",
    "tiff": "TIFF",
}
_DRAWINGS = (".svg", ".svgz")  # pictures that Pillow does not open
_KEPT_MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "WEBP": ("L", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F", "CMYK"),
}


class Image(FileMedia):
    """A picture from an array, a tensor, Pillow, matplotlib or a file.

    Arrays are (height, width) or (height, width, channels) with 1 to 4 channels: gray, gray with alpha, RGB, RGBA.
    Torch tensors are (channels, height, width); a batch of them becomes one picture, a grid. Numbers become 8-bit
    pixels as `pixels` says. The picture is encoded at once, so that an array or a figure may be used again; a file
    is kept as it is and read when the picture is logged.

    >>> import numpy as np
    >>> image = Image(np.zeros((2, 3)), caption="dark")
    >>> image.width, image.height, image.format
    (3, 2, 'png')
    """

    kind = "image-file"
    folder = "media/images"
    masks: dict[str, Mask]
    boxes: dict[str, Boxes]
    classes: dict[int, str]

    def __init__(
        self,
        data_or_path: Any,
        mode: str | None = None,
        caption: object = None,
        grouping: int | None = None,
        classes: Any = None,
        boxes: Mapping[str, Any] | None = None,
        masks: Mapping[str, Any] | None = None,
        file_type: str | None = None,
        normalize: bool = True,
    ) -> None:
        """`mode` is a Pillow mode to convert to; `file_type` is png, jpg, webp… (neither touches a file given by path).

        `classes` names the classes of masks and boxes that bring no ``class_labels``: ``{0: "cat"}`` or
        ``[{"id": 0, "name": "cat"}]``. `masks` is ``{group: {"mask_data": 2-D array of class numbers}}``, `boxes` is
        ``{group: {"box_data": [{"position": {"minX": 0.1, "maxX": 0.2, "minY": 0.3, "maxY": 0.4}, "class_id": 0}]}}``,
        each with its ``class_labels``; a box may have ``"domain": "pixel"``, else its position is in fractions of
        the picture, further ``scores`` and ``box_caption``.
        Raises: UsageError for what is no picture; NotFoundError for a path that does not exist.
        """
        if isinstance(data_or_path, Image):
            given = data_or_path
            content, size = given._content, (given.width, given.height)
            caption = given.caption if caption is None else caption
            grouping = given._details.get("grouping") if grouping is None else grouping
        else:
            content, size = _content_of(data_or_path, mode, file_type, normalize)
            given = None
        details = {"width": size[0], "height": size[1], "grouping": grouping}
        super().__init__(content, caption, details)
        self.classes = class_names(classes, "Image classes") or (given.classes if given else {})
        self.masks = dict(given.masks) if given and masks is None else {}
        self.boxes = dict(given.boxes) if given and boxes is None else {}
        for group, mask in _groups(masks, "masks"):
            self.masks[group] = Mask.of(mask, f"Image mask {group!r}", size, self.classes)
        for group, box_set in _groups(boxes, "boxes"):
            self.boxes[group] = Boxes.of(box_set, f"Image boxes {group!r}", self.classes)

    @property
    def width(self) -> int | None:
        """In pixels; None for a drawing (SVG), and for a file when Pillow is not installed."""
        return self._details.get("width")

    @property
    def height(self) -> int | None:
        """In pixels, as `width`."""
        return self._details.get("height")

    @property
    def grouping(self) -> int | None:
        """The number of the group that the picture is shown in."""
        return self._details.get("grouping")

    @property
    def image(self) -> PIL.Image.Image:
        """The Pillow picture. Raises: UsageError when Pillow cannot read the file."""
        pillow = need("PIL.Image", "Image.image")
        try:
            picture: PIL.Image.Image = pillow.open(io.BytesIO(self.read()))
            picture.load()
        except OSError as error:
            raise UsageError(f"Image: Pillow cannot read this {self.format} file: {error}") from error
        return picture

    @property
    def array(self) -> NDArray[Any]:
        """The pixels: (height, width) or (height, width, channels)."""
        np = need("numpy", "Image.array")
        pixels: NDArray[Any] = np.asarray(self.image)
        return pixels

    def to_value(self, sink: FileSink) -> dict[str, Any]:
        """Keep the picture, its masks and boxes."""
        value = super().to_value(sink)
        if self.classes:
            value["classes"] = [
                {"id": number, "name": self.classes[number]} for number in sorted(self.classes)
            ]
        if self.masks:
            value["masks"] = {group: mask.to_value(sink) for group, mask in self.masks.items()}
        if self.boxes:
            value["boxes"] = {group: boxes.to_value(sink) for group, boxes in self.boxes.items()}
        return value

    @classmethod
    def from_value(cls, value: Mapping[str, Any], source: FileSource) -> Self:
        """The picture whose value this is."""
        made = super().from_value(value, source)
        masks, boxes, classes = (made._details.pop(key, None) for key in ("masks", "boxes", "classes"))
        made.classes = class_names(classes, "image value")
        made.masks = {group: Mask.from_value(mask, source) for group, mask in (masks or {}).items()}
        made.boxes = {group: Boxes.from_value(box_set, source) for group, box_set in (boxes or {}).items()}
        return made

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        if same is not True or not isinstance(other, Image):
            return same
        return (self.masks, self.boxes, self.classes) == (other.masks, other.boxes, other.classes)

    __hash__ = FileMedia.__hash__

    def _repr_png_(self) -> bytes | None:
        return self.read() if self.format == "png" else None

    def _repr_html_(self) -> str:
        name = {"jpg": "jpeg", "svg": "svg+xml", "tif": "tiff"}.get(self.format, self.format)
        data = base64.b64encode(self.read()).decode()
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure><img src="data:image/{name};base64,{data}">{caption}</figure>'


def _groups(given: Any, name: str) -> list[tuple[str, Any]]:
    if given is None:
        return []
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise UsageError(f"Image {name}: expected {{group: {{…}}}}, got {str(given)[:120]}")
    return list(given.items())


def _content_of(
    given: Any, mode: str | None, file_type: str | None, normalize: bool
) -> tuple[Content, tuple[int | None, int | None]]:
    extension = "png" if file_type is None else str(file_type).lower().removeprefix(".")
    if extension not in _FORMATS:
        raise UsageError(f"Image file_type {file_type!r}: expected one of {', '.join(_FORMATS)}")
    if isinstance(given, str | os.PathLike):
        return _file(LocalContent(given))
    figure = matplotlib_figure(given)
    if figure is not None:
        data = drawn(figure)
        if mode is None and extension == "png":
            # The size stands in a PNG's first chunk: Pillow is not needed.
            return MemoryContent(data, ".png"), (
                int.from_bytes(data[16:20], "big"),
                int.from_bytes(data[20:24], "big"),
            )
        picture = need("PIL.Image", "Image").open(io.BytesIO(data))
    elif is_pil(given):
        picture = given
    else:
        picture = _picture(given, normalize)
    if mode is not None:
        try:
            picture = picture.convert(mode)
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"Image mode {mode!r}: Pillow cannot convert {picture.mode} to it: {error}"
            ) from error
    return MemoryContent(_encoded(picture, _FORMATS[extension]), f".{extension}"), picture.size


def _file(content: LocalContent) -> tuple[Content, tuple[int | None, int | None]]:
    if content.extension in _DRAWINGS:
        return content, (None, None)
    try:
        pillow = need("PIL.Image", "Image")
    except UsageError:
        return content, (None, None)  # the file is kept all the same, only its size is not known
    try:
        with pillow.open(content.path) as picture:
            return content, picture.size
    except OSError as error:
        raise UsageError(f"Image: {content.path} is not a picture that Pillow reads: {error}") from error


def _picture(given: Any, normalize: bool) -> Any:
    """A Pillow picture of an array or tensor."""
    array = array_of(given, "Image")
    if is_tensor(given):
        if array.ndim not in (2, 3, 4) or (array.ndim > 2 and not 1 <= array.shape[-3] <= 4):
            raise UsageError(
                f"Image: tensor of shape {tuple(array.shape)}; expected (channels, height, width), 1 to 4 channels"
            )
        array = array[None] if array.ndim == 2 else array
        array = array.transpose(*range(array.ndim - 3), -2, -1, -3)
    elif array.ndim == 2:
        array = array[..., None]
    elif array.ndim != 3 or not 1 <= array.shape[-1] <= 4:
        hint = ""
        if array.ndim == 3 and 1 <= array.shape[0] <= 4:
            hint = "; the channels come last: array.transpose(1, 2, 0)"
        elif array.ndim == 4:
            hint = "; log a list of Images for several pictures"
        raise UsageError(
            f"Image: array of shape {array.shape}; expected (height, width) or (height, width, 1 to 4){hint}"
        )
    if not array.size:
        raise UsageError(f"Image: array of shape {array.shape} has no pixels")
    pixels = to_uint8(array, normalize=normalize)
    if pixels.ndim == 4:
        pixels = grid(pixels)
    return need("PIL.Image", "Image").fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _encoded(picture: Any, file_format: str) -> bytes:
    """The bytes of a picture in a format; a mode that the format has not is converted, alpha is put onto white."""
    modes = _KEPT_MODES[file_format]
    if picture.mode not in modes:
        if picture.mode in ("F", "I"):
            picture = _picture(picture, normalize=True)
        elif picture.mode in ("LA", "PA", "RGBA", "RGBa", "La", "P"):
            clear = picture.convert("RGBA")
            if "RGBA" in modes:
                picture = clear
            else:
                white = need("PIL.Image", "Image").new("RGBA", clear.size, "white")
                white.alpha_composite(clear)
                picture = white.convert("RGB")
        else:
            picture = picture.convert("L" if picture.mode == "1" else "RGB")
    buffer = io.BytesIO()
    try:
        picture.save(buffer, file_format)
    except (OSError, ValueError) as error:
        raise UsageError(f"Image: Pillow cannot write {file_format}: {error}") from error
    return buffer.getvalue()

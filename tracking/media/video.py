"""`Video`: moving pictures from an array or a file."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from ...storage.errors import UsageError
from .content import Content, FileMedia, LocalContent, MemoryContent
from .optional import need
from .pixels import array_of, grid, to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("gif", "mp4", "webm", "ogg")
_CODECS = {"mp4": "libx264", "webm": "libvpx-vp9", "ogg": "libtheora"}


class Video(FileMedia):
    """A video. Arrays are (time, channels, height, width); a batch in front of it plays side by side in a grid.

    Channels are 1 (gray), 3 (RGB) or 4 (RGBA; the alpha is dropped). Numbers become pixels as for `Image`, by one
    rule for all frames. GIF is written by Pillow, the other formats by ``imageio-ffmpeg`` if it is installed. A file
    is kept as it is.

    >>> import numpy as np
    >>> video = Video(np.zeros((5, 3, 8, 16), np.uint8), fps=10)
    >>> video.width, video.height, video.frames, video.format
    (16, 8, 5, 'gif')
    """

    kind = "video-file"
    folder = "media/videos"

    def __init__(
        self, data_or_path: Any, caption: object = None, fps: float | None = None, format: str | None = None
    ) -> None:
        """`fps` in frames a second, 4 when it is not given; `format` is gif (the default), mp4, webm or ogg.

        An open binary file or a ``BytesIO`` with an encoded video needs `format`, too.
        Raises: UsageError for what is no video; NotFoundError for a path that does not exist.
        """
        extension = None if format is None else str(format).lower().removeprefix(".")
        if extension is not None and extension not in FORMATS:
            raise UsageError(f"Video format {format!r}: expected one of {', '.join(FORMATS)}")
        rate = None if fps is None else _rate(fps)
        details: dict[str, Any] = {"fps": rate}
        if isinstance(data_or_path, str | os.PathLike):
            content: Content = LocalContent(data_or_path)
            if content.extension.removeprefix(".") not in FORMATS:
                raise UsageError(f"Video {os.fspath(data_or_path)!r}: expected a file .{', .'.join(FORMATS)}")
        elif hasattr(data_or_path, "read"):
            if extension is None:
                raise UsageError('Video of an open file needs its format; Video(file, format="mp4")')
            content = MemoryContent(_bytes_of(data_or_path), f".{extension}")
        else:
            content, details = _encoded(
                _frames(data_or_path), 4.0 if rate is None else rate, extension or "gif"
            )
        super().__init__(content, caption, details)

    @property
    def width(self) -> int | None:
        """In pixels; None for a file."""
        return self._details.get("width")

    @property
    def height(self) -> int | None:
        """In pixels; None for a file."""
        return self._details.get("height")

    @property
    def frames(self) -> int | None:
        """How many pictures; None for a file."""
        return self._details.get("frames")

    @property
    def fps(self) -> float | None:
        """Frames a second; None for a file when it was not given."""
        return self._details.get("fps")


def _rate(fps: Any) -> float:
    if isinstance(fps, bool) or not hasattr(fps, "__float__") or not 0 < float(fps) <= 1000:
        raise UsageError(f"Video fps {fps!r}: expected frames a second, more than 0 and at most 1000")
    return float(fps)


def _bytes_of(file: Any) -> bytes:
    if hasattr(file, "seek"):
        file.seek(0)
    data = file.read()
    if not isinstance(data, bytes):
        raise UsageError("Video: the open file gives text; open it in binary mode")
    return data


def _frames(given: Any) -> NDArray[Any]:
    """The pixels of all frames, (time, height, width, 3)."""
    np = need("numpy", "Video")
    array = array_of(given, "Video")
    if array.ndim not in (4, 5) or array.shape[-3] not in (1, 3, 4):
        hint = ""
        if array.ndim in (4, 5) and array.shape[-1] in (1, 3, 4):
            hint = "; the channels come before height and width: np.moveaxis(array, -1, -3)"
        raise UsageError(
            f"Video: array of shape {array.shape}; expected (time, channels, height, width), or a batch of it,"
            f" with 1, 3 or 4 channels{hint}"
        )
    if not array.size:
        raise UsageError(f"Video: array of shape {array.shape} has no pixels")
    pixels: NDArray[Any] = np.moveaxis(to_uint8(array), -3, -1)
    if pixels.ndim == 5:
        pixels = grid(pixels)
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels[..., :3]


def _encoded(frames: NDArray[Any], fps: float, extension: str) -> tuple[MemoryContent, dict[str, Any]]:
    data = _gif(frames, fps) if extension == "gif" else _by_ffmpeg(frames, fps, extension)
    count, height, width = frames.shape[:3]
    details = {"width": width, "height": height, "frames": count, "fps": fps, "duration_s": count / fps}
    return MemoryContent(data, f".{extension}"), details


def _gif(frames: NDArray[Any], fps: float) -> bytes:
    pillow = need("PIL.Image", "a GIF video")
    pictures = [pillow.fromarray(frame) for frame in frames]
    # GIF counts in hundredths of a second: ends are rounded, so that the whole is as long as it should be.
    ends = [round((i + 1) * 100 / fps) for i in range(len(frames))]
    durations = [10 * max(1, end - start) for start, end in zip([0, *ends], ends, strict=False)]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, disposal=2
    )
    return buffer.getvalue()


def _by_ffmpeg(frames: NDArray[Any], fps: float, extension: str) -> bytes:
    np = need("numpy", "Video")
    ffmpeg = need("imageio_ffmpeg", f"a {extension} video of an array")
    import tempfile
    from pathlib import Path

    count, height, width = frames.shape[:3]
    # The codecs keep colours for 2 × 2 pixels: an odd edge is repeated once.
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"video.{extension}")
        writer = ffmpeg.write_frames(
            str(path),
            (even.shape[2], even.shape[1]),
            fps=fps,
            codec=_CODECS[extension],
            macro_block_size=2,
            ffmpeg_log_level="error",
        )
        try:
            writer.send(None)
            for index in range(count):
                writer.send(np.ascontiguousarray(even[index]))
            writer.close()
        except OSError as error:
            raise UsageError(f"Video: ffmpeg cannot write {extension}: {error}; try format='gif'") from error
        return path.read_bytes()

"""`Audio`: a sound from samples or a file."""

from __future__ import annotations

import io
import os
import wave
from typing import TYPE_CHECKING, Any

from ...storage.errors import UsageError
from .content import Content, FileMedia, LocalContent, MemoryContent
from .optional import need
from .pixels import array_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_CHANNELS = 16


class Audio(FileMedia):
    """A sound. Samples are (frames,) or (frames, channels) and become a 16-bit WAV file; a file is kept as it is.

    An array with fewer rows than columns and at most 16 rows is taken for (channels, frames), as torchaudio has it.
    Fractions stand for −1…1; louder ones are scaled down so that the loudest is 1, nothing is clipped. Whole numbers
    are 16-bit samples, or of their type's range (uint8, int8, int32). NaN is silence; how many there were stands in
    the value as ``invalid_samples``.

    >>> import numpy as np
    >>> sound = Audio(np.zeros(8000), sample_rate=16000)
    >>> sound.duration_s, sound.channels, sound.format
    (0.5, 1, 'wav')
    """

    kind = "audio-file"
    folder = "media/audio"

    def __init__(self, data_or_path: Any, sample_rate: int | None = None, caption: object = None) -> None:
        """`sample_rate` in frames a second; needed for samples.

        Raises: UsageError for what is no sound; NotFoundError for a path that does not exist.
        """
        if isinstance(data_or_path, str | os.PathLike):
            file = LocalContent(data_or_path)
            content: Content = file
            details = _of_file(file)
            if sample_rate is not None:
                details.setdefault("sample_rate", _rate(sample_rate))
        else:
            content, details = _of_samples(data_or_path, _rate(sample_rate))
        super().__init__(content, caption, details)

    @property
    def sample_rate(self) -> int | None:
        """Frames a second; None when the file does not tell."""
        return self._details.get("sample_rate")

    @property
    def channels(self) -> int | None:
        """1 for mono, 2 for stereo."""
        return self._details.get("channels")

    @property
    def duration_s(self) -> float | None:
        """Seconds."""
        return self._details.get("duration_s")

    @property
    def samples(self) -> NDArray[Any]:
        """The samples of a 16-bit WAV file as int16, (frames, channels). Raises: UsageError for another format."""
        np = need("numpy", "Audio.samples")
        try:
            with wave.open(io.BytesIO(self.read())) as reader:
                if reader.getsampwidth() != 2:
                    raise UsageError(
                        f"Audio: the file has {8 * reader.getsampwidth()}-bit samples; only 16 are read"
                    )
                frames = np.frombuffer(reader.readframes(reader.getnframes()), "<i2")
                channels = reader.getnchannels()
        except (wave.Error, EOFError) as error:
            raise UsageError(f"Audio: {self.format} is not read to samples, only WAV is: {error}") from error
        samples: NDArray[Any] = frames.reshape(-1, channels)
        return samples


def _rate(given: Any) -> int:
    if given is None:
        raise UsageError(
            "Audio of samples needs sample_rate (frames a second); Audio(data, sample_rate=16000)"
        )
    if (
        isinstance(given, bool)
        or not hasattr(given, "__int__")
        or int(given) != given
        or not 0 < given < 2**31
    ):
        raise UsageError(f"Audio sample_rate {given!r}: expected a whole number of frames a second")
    return int(given)


def _of_file(content: LocalContent) -> dict[str, Any]:
    if content.extension not in (".wav", ".wave"):
        return {}
    try:
        with wave.open(str(content.path), "rb") as reader:
            rate, channels, frames = reader.getframerate(), reader.getnchannels(), reader.getnframes()
    except (wave.Error, EOFError):
        return {}  # a WAV file of floats or compressed: players read it, `wave` does not
    return {"sample_rate": rate, "channels": channels, "duration_s": frames / rate if rate else None}


def _of_samples(given: Any, rate: int) -> tuple[MemoryContent, dict[str, Any]]:
    array = array_of(given, "Audio")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim == 2 and array.size and array.shape[0] <= _MAX_CHANNELS and array.shape[0] < array.shape[1]:
        array = array.T
    if array.ndim != 2 or not array.size or array.shape[1] > _MAX_CHANNELS:
        raise UsageError(
            f"Audio: array of shape {array.shape}; expected (frames,) or (frames, channels), at most 16 channels"
        )
    samples, invalid = _int16(array)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(array.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    details = {"sample_rate": rate, "channels": array.shape[1], "duration_s": len(array) / rate}
    if invalid:
        details["invalid_samples"] = invalid
    return MemoryContent(buffer.getvalue(), ".wav"), details


def _int16(array: NDArray[Any]) -> tuple[NDArray[Any], int]:
    np = need("numpy", "Audio")
    if array.dtype.kind == "f":
        values = array.astype(np.float64)
        invalid = int(np.count_nonzero(~np.isfinite(values)))
        values = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=-1.0)
        peak = max(1.0, float(np.abs(values).max()))
        return np.rint(values / peak * 32767), invalid
    if array.dtype == np.uint8:
        return (array.astype(np.int16) - 128) * 256, 0
    if array.dtype == np.int8:
        return array.astype(np.int16) * 256, 0
    if array.dtype == np.bool_:
        raise UsageError(
            "Audio: an array of bool is no sound; expected fractions −1…1 or 16-bit whole numbers"
        )
    if int(array.min()) >= -32768 and int(array.max()) <= 32767:
        return array, 0
    if array.dtype == np.int32:
        return array >> 16, 0
    raise UsageError(
        f"Audio: {array.dtype} samples from {array.min()} to {array.max()}; expected 16-bit ones or fractions"
    )

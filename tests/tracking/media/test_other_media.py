from __future__ import annotations

import importlib.util
import io
import json
import sys
import types
import wave
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sink import FolderSink

from lineart.storage.errors import IntegrityError, NotFoundError, UsageError
from lineart.tracking.media import (
    Audio,
    Histogram,
    Html,
    Image,
    Media,
    Molecule,
    Object3D,
    Plotly,
    Video,
    as_media,
    load_media,
)

M = TypeVar("M", bound=Media)


def round_trip(media: M, sink: FolderSink) -> M:
    value = json.loads(json.dumps(media.to_value(sink), allow_nan=False))
    assert value["_type"] == media.kind
    again = load_media(value, sink)
    assert type(again) is type(media)
    assert again == media
    assert hash(again) == hash(media)
    assert json.loads(json.dumps(again.to_value(sink))) == value
    return again


# Audio


def test_sound_is_a_16_bit_wav(sink: FolderSink) -> None:
    tone = np.sin(np.arange(800) / 5)
    again = round_trip(Audio(tone, sample_rate=8000, caption="a"), sink)
    assert (again.sample_rate, again.channels, again.duration_s, again.format) == (8000, 1, 0.1, "wav")
    with wave.open(io.BytesIO(again.read())) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (8000, 1, 2)
    assert np.abs(again.samples[:, 0] / 32767 - tone).max() < 1e-4


@pytest.mark.parametrize("shape", [(800, 2), (2, 800)])
def test_stereo_is_found_in_either_order(shape: tuple[int, int], sink: FolderSink) -> None:
    assert round_trip(Audio(np.zeros(shape), 8000), sink).channels == 2


@pytest.mark.parametrize(
    "samples, written",
    [
        ([0.5, -2.0, 2.0], [8192, -32767, 32767]),  # scaled, not clipped
        (np.array([1, -32768, 32767], np.int16), [1, -32768, 32767]),
        (np.array([0, 128, 255], np.uint8), [-32768, 0, 32512]),
        (np.array([65536, -(2**31), 2**31 - 1], np.int32), [1, -32768, 32767]),
        ([float("nan"), 1.0, float("inf")], [0, 32767, 32767]),
    ],
)
def test_samples_become_16_bits(samples: Any, written: list[int]) -> None:
    assert Audio(samples, 8000).samples[:, 0].tolist() == written


def test_samples_that_are_not_finite_are_counted(sink: FolderSink) -> None:
    assert Audio([0.0, float("nan")], 8000).to_value(sink)["invalid_samples"] == 1


def test_sound_files_are_kept(tmp_path: Path, sink: FolderSink) -> None:
    path = Audio(np.zeros((10, 2)), 100).save(tmp_path / "x.wav")
    again = round_trip(Audio(path), sink)
    assert (again.sample_rate, again.channels, again.duration_s) == (100, 2, 0.1)
    (tmp_path / "y.mp3").write_bytes(b"not looked at")
    again = round_trip(Audio(str(tmp_path / "y.mp3"), sample_rate=44100), sink)
    assert (again.sample_rate, again.channels, again.format) == (44100, None, "mp3")
    with pytest.raises(UsageError, match="mp3 is not read to samples"):
        _ = again.samples


@pytest.mark.parametrize(
    "data, rate, message",
    [
        (np.zeros(5), None, "needs sample_rate"),
        (np.zeros(5), 0, "sample_rate 0"),
        (np.zeros(5), 44100.5, r"sample_rate 44100\.5"),
        (np.zeros(5), True, "sample_rate True"),
        (np.zeros(0), 8000, r"shape \(0, 1\)"),
        (np.zeros((50, 50)), 8000, r"shape \(50, 50\)"),
        (np.array([70000, 3]), 8000, "int64 samples from 3 to 70000"),
        (np.array([True]), 8000, "bool is no sound"),
    ],
)
def test_what_is_no_sound_is_refused(data: Any, rate: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Audio(data, rate)


# Video


def frames_of(video: Video) -> list[np.ndarray[Any, Any]]:
    with PIL.Image.open(io.BytesIO(video.read())) as picture:
        found = []
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            found.append(np.asarray(picture.convert("RGB")))
        return found


def test_video_plays_its_frames_in_order(sink: FolderSink) -> None:
    data = np.zeros((3, 3, 4, 6), np.uint8)
    for index in range(3):
        data[index, index] = 255  # red, green, blue
    again = round_trip(Video(data, fps=10, caption="v"), sink)
    assert (again.width, again.height, again.frames, again.fps, again.format) == (6, 4, 3, 10, "gif")
    assert [frame[0, 0].tolist() for frame in frames_of(again)] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_batch_of_videos_plays_side_by_side() -> None:
    data = np.zeros((3, 2, 1, 4, 6))
    data[1, 1] = 1.0
    video = Video(data)
    assert (video.width, video.height, video.frames, video.fps) == (12, 8, 2, 4)
    first, second = frames_of(video)
    assert first.max() == 0
    assert second[:4, 6:].min() == 255  # the second video: first row, second column
    assert second[:4, :6].max() == 0


def test_gif_is_as_long_as_its_frames_say() -> None:
    rng = np.random.default_rng(0)
    video = Video(rng.integers(0, 255, (30, 1, 4, 4), np.uint8), fps=30)
    with PIL.Image.open(io.BytesIO(video.read())) as picture:
        total = 0
        for index in range(picture.n_frames):  # type: ignore[attr-defined]
            picture.seek(index)
            total += picture.info["duration"]
    assert total == 1000  # milliseconds


def test_other_formats_are_written_by_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Any] = []

    def write_frames(path: str, size: tuple[int, int], **options: Any) -> Any:
        received.append((size, options["fps"], options["codec"]))
        while True:
            try:
                frame = yield
            except GeneratorExit:
                Path(path).write_bytes(b"encoded")
                raise
            received.append(frame)

    fake = types.ModuleType("imageio_ffmpeg")
    fake.write_frames = write_frames  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", fake)
    video = Video(np.full((2, 3, 5, 7), 9, np.uint8), fps=25, format="mp4")
    assert received[0] == ((8, 6), 25.0, "libx264")  # even sizes
    assert [frame.shape for frame in received[1:]] == [(6, 8, 3)] * 2
    assert all((frame == 9).all() for frame in received[1:])
    assert (video.read(), video.width, video.height, video.format) == (b"encoded", 7, 5, "mp4")


@pytest.mark.skipif(
    importlib.util.find_spec("imageio_ffmpeg") is None, reason="imageio-ffmpeg is not installed"
)
@pytest.mark.parametrize("extension", ["mp4", "webm"])
def test_ffmpeg_writes_a_real_video(extension: str) -> None:
    data = np.random.default_rng(0).integers(0, 255, (4, 3, 15, 17), np.uint8)
    assert len(Video(data, format=extension).read()) > 200


def test_missing_ffmpeg_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UsageError, match="needs imageio-ffmpeg"):
        Video(np.zeros((2, 3, 4, 4), np.uint8), format="webm")


def test_video_files_are_kept(tmp_path: Path, sink: FolderSink) -> None:
    (tmp_path / "x.mp4").write_bytes(b"encoded")
    assert round_trip(Video(tmp_path / "x.mp4", fps=24), sink).read() == b"encoded"
    assert round_trip(Video(io.BytesIO(b"bytes"), format="webm"), sink).format == "webm"


@pytest.mark.parametrize(
    "data, options, message",
    [
        (np.zeros((2, 8, 8, 3)), {}, r"np\.moveaxis"),
        (np.zeros((2, 3, 4)), {}, r"shape \(2, 3, 4\)"),
        (np.zeros((0, 3, 4, 4)), {}, "has no pixels"),
        (np.zeros((2, 3, 4, 4)), {"format": "avi"}, "format 'avi'"),
        (np.zeros((2, 3, 4, 4)), {"fps": 0}, "fps 0"),
        ("x.avi", {}, "avi"),
        (io.BytesIO(b""), {}, "needs its format"),
        (io.StringIO(""), {"format": "mp4"}, "binary mode"),
    ],
)
def test_what_is_no_video_is_refused(
    data: Any, options: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.avi").touch()
    with pytest.raises(UsageError, match=message):
        Video(data, **options)


# Html


def test_page_from_text_path_and_file(tmp_path: Path, sink: FolderSink) -> None:
    page = "<html><head><title>é</title></head><body>1</body></html>"
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    for given_page in (page, path, str(path), io.StringIO(page), path.open("rb")):
        assert round_trip(Html(given_page, inject=False), sink).html == page
        if hasattr(given_page, "close"):
            given_page.close()  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]
    assert Html(str(path), inject=False, data_is_not_path=True).html == str(path)
    assert Html("missing.html", inject=False).html == "missing.html"
    with pytest.raises(NotFoundError):
        Html(tmp_path / "missing.html")


@pytest.mark.parametrize(
    "page",
    ["<b>x</b>", "<HTML><HEAD lang='x'></HEAD><b>x</b></HTML>", "<!DOCTYPE html><b>x</b>", "<html><b>x</b>"],
)
def test_style_goes_into_the_head(page: str) -> None:
    made = Html(page).html
    assert made.count("<style>") == 1
    assert made.lower().index("<head") < made.index("<style>") < made.index("<b>x</b>")
    assert Html(Html(page)).html == made


def test_odd_pages() -> None:
    assert Html("\ud800", inject=False).html == "&#55296;"
    assert "srcdoc=" in Html("<b>")._repr_html_()
    assert "&lt;b&gt;" in Html("<b>")._repr_html_()
    with pytest.raises(UsageError, match="int is not a page"):
        Html(3)
    with pytest.raises(UsageError, match="not UTF-8"):
        Html(io.BytesIO(b"\xff\xff"))


# Object3D and Molecule


@pytest.mark.parametrize("columns", [3, 4, 6])
def test_point_cloud_comes_back(columns: int, sink: FolderSink) -> None:
    points = np.arange(1, 1 + 2 * columns).reshape(2, columns)
    again = round_trip(Object3D(points), sink)
    assert again.data == points.tolist()
    assert again.points == 2


def test_scene_comes_back(sink: FolderSink) -> None:
    corners = np.zeros((8, 3)).tolist()
    scene = {
        "type": "lidar/beta",
        "points": np.zeros((3, 3)),
        "boxes": np.array([{"corners": corners, "label": "car", "color": [255, 0, 0], "score": 0.5}]),
        "vectors": [{"start": [0, 0, 0], "end": [1, 1, 1]}, ([0, 0, 0], [1, 2, 3])],
    }
    value = Object3D(scene, caption="s").to_value(sink)
    assert (value["points"], value["boxes"], value["vectors"], value["caption"]) == (3, 1, 2, "s")
    data = round_trip(Object3D(scene), sink).data
    assert data["boxes"] == [{"corners": corners, "label": "car", "color": [255, 0, 0], "score": 0.5}]
    assert data["vectors"][1] == {"start": [0, 0, 0], "end": [1, 2, 3]}


@pytest.mark.parametrize(
    "data, message",
    [
        (np.zeros((3, 5)), r"shape \(3, 5\)"),
        (np.array([[0, 0, 0, 15]]), "1 to 14"),
        ({}, "no keys"),
        ({"points": np.zeros((1, 3)), "lines": []}, "lines"),
        ({"type": "x", "points": np.zeros((1, 3))}, "type 'x'"),
        ({"boxes": [{"label": "x"}]}, "Object3D box 0: expected a dictionary with corners"),
        ({"boxes": [{"corners": [[0, 0, 0]]}]}, r"box 0: corners: expected finite numbers of shape \(8, 3\)"),
        ({"vectors": [{"start": [0, 0, 0]}]}, "vector 0"),
        ({"vectors": [([0, 0, 0], [0, 0, float("nan")])]}, "vector 0: end"),
        ({"boxes": 3}, "int is not a list"),
        ("x.ply", "expected a file"),
    ],
)
def test_what_is_no_object_is_refused(data: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Object3D(data)


def test_model_files_are_kept(tmp_path: Path, sink: FolderSink) -> None:
    for name in ("x.obj", "x.GLB", "x.pts.json"):
        (tmp_path / name).write_text("[]")
        again = round_trip(Object3D(tmp_path / name), sink)
        assert again.format == name.partition(".")[2].lower()
    assert Object3D(io.StringIO("v 0 0 0"), file_type="obj").read() == b"v 0 0 0"
    with pytest.raises(UsageError, match="read"):
        _ = Object3D(tmp_path / "x.obj").data


def test_molecule_from_path_text_and_file(tmp_path: Path, sink: FolderSink) -> None:
    text = "ATOM      1  N   MET A   1\nEND\n"
    path = tmp_path / "m.pdb"
    path.write_text(text)
    for molecule in (
        Molecule(path),
        Molecule(str(path)),
        Molecule(text, file_type="pdb"),
        Molecule(io.StringIO(text), file_type=".PDB"),
    ):
        again = round_trip(molecule, sink)
        assert (again.text, again.format) == (text, "pdb")
    assert len(sink.files()) == 1
    for bad, message in ((text, "needs its file_type"), ("x.txt", "'txt'"), (3, "int is no molecule")):
        with pytest.raises(UsageError, match=message):
            Molecule(bad)
    with pytest.raises(UsageError, match="needs its file_type"):
        Molecule(io.StringIO(text))
    with pytest.raises(UsageError, match="'doc' is not one of"):
        Molecule(text, file_type="doc")


# Histogram


def test_histogram_counts_as_numpy_does(sink: FolderSink) -> None:
    values = np.random.default_rng(0).normal(size=1000)
    again = round_trip(Histogram(values), sink)
    counts, edges = np.histogram(values, bins=64)
    assert (again.histogram, again.bins) == (counts.tolist(), edges.tolist())
    assert Histogram(np_histogram=(counts, edges)) == again
    assert sink.files() == []


def test_values_that_are_not_finite_are_counted_apart(sink: FolderSink) -> None:
    again = round_trip(Histogram([1.0, float("nan"), float("inf"), float("inf"), float("-inf")]), sink)
    assert (again.nan_count, again.posinf_count, again.neginf_count, sum(again.histogram)) == (1, 2, 1, 1)


@given(
    arrays(np.float64, array_shapes(max_dims=2, max_side=20, min_side=0), elements=st.floats()),
    st.integers(1, 512),
)
def test_every_value_is_counted_once(values: Any, bins: int) -> None:
    histogram = Histogram(values, num_bins=bins)
    apart = histogram.nan_count + histogram.posinf_count + histogram.neginf_count
    assert sum(histogram.histogram) + apart == values.size
    assert np.isfinite(histogram.bins).all()
    json.dumps(histogram.to_value(None), allow_nan=False)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert Histogram.from_value(histogram.to_value(None), None) == histogram  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "give either values, or np_histogram"),
        ({"sequence": [1], "num_bins": 513}, "num_bins 513: expected 1 to 512"),
        ({"sequence": [1], "num_bins": 0}, "num_bins 0"),
        ({"sequence": ["a"]}, "holds <U1"),
        ({"np_histogram": ([1, 2], [0, 1])}, "2 counts and 2 edges"),
        ({"np_histogram": ([1], [1, 0])}, "edges must rise"),
        ({"np_histogram": ([1], [0, float("inf")])}, "finite"),
        ({"np_histogram": ([1] * 513, list(range(514)))}, "513 bins"),
        ({"np_histogram": 3}, "expected"),
    ],
)
def test_what_is_no_histogram_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Histogram(**arguments)


def test_histogram_of_anything_with_numbers() -> None:
    assert sum(Histogram(float(i) for i in range(5)).histogram) == 5
    assert sum(Histogram(np.arange(5, dtype=np.float16)).histogram) == 5
    assert sum(Histogram([]).histogram) == 0
    torch = pytest.importorskip("torch")
    assert sum(Histogram(torch.ones(3, 4, requires_grad=True)).histogram) == 12


def test_broken_value_is_refused(sink: FolderSink) -> None:
    with pytest.raises(IntegrityError):
        load_media({"_type": "histogram", "values": [1], "bins": [1]}, sink)


# Plotly, and what log() turns into media


def test_plotly_figure_comes_back(sink: FolderSink, tmp_path: Path) -> None:
    graph = pytest.importorskip("plotly.graph_objects")
    figure = graph.Figure(graph.Scatter(y=[1, 3, 2]))
    again = round_trip(Plotly(figure), sink)
    assert again.figure == figure
    assert as_media(figure) == again
    path = again.save(tmp_path / "x.json")
    assert round_trip(Plotly(path), sink).data == again.data
    assert Plotly(again.data).data == again.data


def test_matplotlib_figure_becomes_a_picture(sink: FolderSink) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    figure = figure_module.Figure(figsize=(1, 1))
    value = Plotly(figure, caption="c").to_value(sink)
    assert value["_type"] == "image-file"
    assert load_media(value, sink) == Image(figure, caption="c")


@pytest.mark.parametrize("data", [3, {"layout": {}}, {"data": [object()]}, {"data": [float("nan")]}])
def test_what_is_no_figure_is_refused(data: Any) -> None:
    with pytest.raises(UsageError, match="Plotly"):
        Plotly(data)


def test_small_things_stand_for_themselves() -> None:
    pandas = pytest.importorskip("pandas")
    for value in (
        1,
        "x",
        None,
        [1],
        {"a": 1},
        np.zeros(32),
        np.array(["a"] * 99),
        pandas.Series([1]),
        np.float64(1),
    ):
        assert as_media(value) is None


def test_big_arrays_frames_and_pictures_become_media() -> None:
    pandas = pytest.importorskip("pandas")
    for value in (np.zeros(33), pandas.Series(range(40)), pandas.Series([1, None] * 20, dtype="Int64")):
        made = as_media(value)
        assert isinstance(made, Histogram)
        assert sum(made.histogram) + made.nan_count == len(value)
    assert type(as_media(pandas.DataFrame({"a": [1]}))).__name__ == "Table"
    assert isinstance(as_media(PIL.Image.new("L", (2, 2))), Image)
    media = Html("x")
    assert as_media(media) is media
    torch = pytest.importorskip("torch")
    assert isinstance(as_media(torch.zeros(40)), Histogram)
    assert as_media(torch.zeros(2)) is None

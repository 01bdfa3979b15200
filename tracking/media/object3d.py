"""`Object3D`: a point cloud, a scene of points, boxes and vectors, or a model file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...storage.errors import IntegrityError, UsageError
from .content import Content, FileMedia, LocalContent, MemoryContent
from .optional import need
from .pixels import array_of

EXTENSIONS = (".obj", ".gltf", ".glb", ".babylon", ".stl", ".pts.json")
_COLUMNS = {
    3: "x, y, z",
    4: "x, y, z, category (1 to 14)",
    6: "x, y, z, red, green, blue",
}


class Object3D(FileMedia):
    """A point cloud (n × 3, 4 or 6 numbers), a dictionary with points, boxes and vectors, or a file.

    The columns of points are x, y, z; then nothing, a category 1 to 14, or red, green, blue 0 to 255. Files are
    ``.obj .gltf .glb .babylon .stl .pts.json``. Points with NaN or infinity cannot be drawn: they are left out, and
    counted in the value as ``invalid_points``.

    >>> import numpy as np
    >>> cloud = Object3D(np.array([[0, 0, 0], [1, 2, float("nan")]]))
    >>> cloud.points, cloud.invalid_points, cloud.format
    (1, 1, 'pts.json')
    """

    kind = "object3D-file"
    folder = "media/object3D"

    def __init__(self, data_or_path: Any, caption: object = None, file_type: str | None = None) -> None:
        """`file_type` says what an open file holds: obj, gltf, glb, babylon, stl or pts.json.

        Raises: UsageError for what is no object in space; NotFoundError for a path that does not exist.
        """
        details: dict[str, Any] = {}
        if isinstance(data_or_path, str | os.PathLike):
            content: Content = LocalContent(data_or_path, _extension(os.fspath(data_or_path)))
        elif hasattr(data_or_path, "read"):
            extension = _extension(f"x.{str(file_type).removeprefix('.')}")
            read = data_or_path.read()
            content = MemoryContent(read.encode() if isinstance(read, str) else read, extension)
        else:
            scene, details = _scene(data_or_path)
            text = json.dumps(scene, separators=(",", ":"), allow_nan=False)
            content = MemoryContent(text.encode(), ".pts.json")
        super().__init__(content, caption, details)

    @property
    def points(self) -> int | None:
        """How many points; None for a file."""
        return self._details.get("points")

    @property
    def invalid_points(self) -> int:
        """How many points were left out, because a number of theirs is not finite."""
        return int(self._details.get("invalid_points", 0))

    @property
    def data(self) -> Any:
        """A point cloud as a list of points, a scene as a dictionary. Raises: UsageError for another kind of file."""
        if self.format != "pts.json":
            raise UsageError(f"Object3D: {self.format} is a model file; read() gives its bytes")
        try:
            return json.loads(self.read())
        except ValueError as error:
            raise IntegrityError(f"Object3D: the file is not JSON: {error}") from error


def _extension(name: str) -> str:
    for extension in EXTENSIONS:
        if name.lower().endswith(extension):
            return extension
    raise UsageError(f"Object3D {name!r}: expected a file {' '.join(EXTENSIONS)}")


def _scene(given: Any) -> tuple[Any, dict[str, Any]]:
    if not isinstance(given, Mapping):
        points, invalid = _points(given)
        return points, _counts(points=len(points), invalid_points=invalid)
    unknown = set(given) - {"type", "points", "boxes", "vectors"}
    if unknown or not set(given) & {"points", "boxes", "vectors"}:
        raise UsageError(
            f"Object3D: dictionary with {', '.join(map(str, given)) or 'no keys'}; expected points, boxes, vectors"
        )
    scene_type = given.get("type", "lidar/beta")
    if scene_type != "lidar/beta":
        raise UsageError(f"Object3D: type {scene_type!r}; expected 'lidar/beta'")
    points, invalid = _points(given["points"]) if _some(given.get("points")) else ([], 0)
    boxes = [_box(box, f"Object3D box {i}") for i, box in enumerate(_items(given, "boxes"))]
    vectors = [_vector(vector, f"Object3D vector {i}") for i, vector in enumerate(_items(given, "vectors"))]
    scene = {"type": scene_type, "points": points, "boxes": boxes, "vectors": vectors}
    counts = _counts(points=len(points), boxes=len(boxes), vectors=len(vectors), invalid_points=invalid)
    return scene, counts


def _some(given: Any) -> bool:
    return given is not None and len(given) > 0


def _counts(**counts: int) -> dict[str, Any]:
    return {name: count for name, count in counts.items() if count or name == "points"}


def _points(given: Any) -> tuple[list[list[float]], int]:
    np = need("numpy", "Object3D")
    array = array_of(given, "Object3D")
    if array.ndim != 2 or array.shape[1] not in _COLUMNS:
        kinds = "; ".join(f"{count}: {columns}" for count, columns in _COLUMNS.items())
        raise UsageError(f"Object3D: points of shape {array.shape}; expected (n, 3, 4 or 6): {kinds}")
    finite = np.isfinite(array).all(axis=1)
    kept = array[finite]
    if array.shape[1] == 4 and kept.size and not ((kept[:, 3] >= 1) & (kept[:, 3] <= 14)).all():
        raise UsageError("Object3D: categories (the fourth column) are whole numbers from 1 to 14")
    points: list[list[float]] = kept.tolist()
    return points, int(len(array) - len(points))


def _items(scene: Mapping[str, Any], name: str) -> list[Any]:
    items = scene.get(name)
    if items is None:
        return []
    try:
        return list(items)  # an array of objects, too
    except TypeError:
        raise UsageError(f"Object3D {name}: {type(items).__name__} is not a list") from None


def _numbers(given: Any, shape: tuple[int, ...], what: str) -> Any:
    np = need("numpy", "Object3D")
    array = array_of(given, what)
    if array.shape != shape or not np.isfinite(array).all():
        raise UsageError(f"{what}: expected finite numbers of shape {shape}, got {str(given)[:120]}")
    return array.tolist()


def _box(given: Any, what: str) -> dict[str, Any]:
    if not isinstance(given, Mapping) or "corners" not in given:
        raise UsageError(f"{what}: expected a dictionary with corners (8 points), got {str(given)[:120]}")
    box: dict[str, Any] = {"corners": _numbers(given["corners"], (8, 3), f"{what}: corners")}
    if given.get("label") is not None:
        box["label"] = str(given["label"])
    if given.get("color") is not None:
        box["color"] = _numbers(given["color"], (3,), f"{what}: color")
    if given.get("score") is not None:
        box["score"] = _numbers(given["score"], (), f"{what}: score")
    return box


def _vector(given: Any, what: str) -> dict[str, Any]:
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 2:
        given = {"start": given[0], "end": given[1]}
    if not isinstance(given, Mapping) or not {"start", "end"} <= set(given):
        raise UsageError(f"{what}: expected a dictionary with start and end, got {str(given)[:120]}")
    vector = {name: _numbers(given[name], (3,), f"{what}: {name}") for name in ("start", "end")}
    if given.get("color") is not None:
        vector["color"] = _numbers(given["color"], (3,), f"{what}: color")
    return vector

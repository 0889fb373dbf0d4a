"""A folder of images (or one image) as the pictures of one camera. Knows nothing of times or of the other camera.

Reads what OpenCV decodes: 8- and 16-bit, grey, colour, with or without alpha. Half-written files count as unreadable,
even where the decoder would fill the rest with grey. A JPEG that is damaged inside but whole is shown as it decodes:
the format has no checksum.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamfuse.errors import UserError
from streamfuse.frames import Modality, Pixels
from streamfuse.sources.pictures import Look, Unreadable, colourfulness

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm", ".pnm"})

DEPTHS = ("uint8", "uint16")


@dataclass(frozen=True, slots=True)
class FolderPictures:
    """The images of one folder in natural order; `names` are their stems."""

    path: Path
    modality: Modality
    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(file.stem for file in self.files)

    @property
    def times_ns(self) -> None:
        """Images carry no times."""
        return

    def read(self) -> Generator[Pixels | Unreadable]:
        for file in self.files:
            image = _read_image(file)
            yield image if isinstance(image, Unreadable) else _as_modality(image, self.modality)

    def look(self) -> Look:
        """What the first readable image is like; UserError where none can be read."""
        image = _first_readable(self)
        return Look(
            description=f"{len(self.files)} images in {self.path}" if self.path.is_dir() else str(self.path),
            size=(image.shape[1], image.shape[0]),
            bits=8 * image.dtype.itemsize,
            colourfulness=colourfulness(_without_alpha(image)),
        )


def open_folder(path: Path, modality: Modality) -> FolderPictures:
    """The images in `path` (a folder, or one image file). Raises UserError when there is nothing to show."""
    if path.is_file():
        return FolderPictures(path, modality, (path,), _more_pages(path))
    files = [file for file in path.iterdir() if is_image(file)]
    if not files:
        raise UserError(f"{path}: a folder of images was asked for, found {_contents(path)}; {_endings()}")
    twice = [stem for stem, count in Counter(file.stem for file in files).items() if count > 1]
    if twice:
        raise UserError(
            f"{path}: {len(twice)} image names occur with two endings (first: {min(twice)}); "
            "a name is a frame's identity, so keep one file of each"
        )
    files.sort(key=lambda file: natural_key(file.stem))
    return FolderPictures(path, modality, tuple(files), _more_pages(files[0]))


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".") and path.is_file()


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sorting key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.lower()) for part in parts if part]


def _more_pages(file: Path) -> tuple[str, ...]:
    pages = cv2.imcount(str(file)) if file.suffix.lower() in (".tif", ".tiff") else 1
    return (f"{file}: it holds {pages} pages and the first is used; split it into one image per frame",)[: pages > 1]


def _contents(path: Path) -> str:
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    files = [entry for entry in path.iterdir() if entry.is_file()]
    inside = f"the folders {', '.join(folders[:4])} (give one of them)" if folders else "no folders"
    if files:
        found = "1 file that is no image" if len(files) == 1 else f"{len(files)} files that are no images"
        return f"{found} and {inside}"
    return f"no image but {inside}" if folders else "no image in it"


def _endings() -> str:
    return f"readable are {' '.join(sorted(IMAGE_ENDINGS))}, and video files"


def _first_readable(pictures: FolderPictures) -> NDArray[np.uint8] | NDArray[np.uint16]:
    first: Unreadable | None = None
    for file in pictures.files:
        image = _read_image(file)
        if not isinstance(image, Unreadable):
            return image
        first = first or image
    detail = first.detail if first else "no file"
    raise UserError(f"{pictures.path}: none of {len(pictures.files)} images can be read (the first: {detail})")


def _read_image(file: Path) -> NDArray[np.uint8] | NDArray[np.uint16] | Unreadable:
    try:
        data = file.read_bytes()
    except OSError as error:
        return Unreadable(f"{file.name}: {error.strerror}")
    if not _is_whole(data):
        return Unreadable(f"{file.name}: the file is cut off after {len(data)} bytes")
    image = _decoded(data)
    if image is None:
        return Unreadable(f"{file.name}: no decodable image in {len(data)} bytes")
    if image.dtype.name not in DEPTHS:
        return Unreadable(f"{file.name}: {image.dtype} pixels; readable are 8- and 16-bit whole numbers")
    return cast("NDArray[np.uint8] | NDArray[np.uint16]", image)


def _decoded(data: bytes) -> Pixels | None:
    if not data:
        return None
    try:
        return cast("Pixels | None", cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    except cv2.error:
        return None


def _is_whole(data: bytes) -> bool:
    """False for a JPEG or PNG that ends early; other formats fail to decode by themselves."""
    if data.startswith(b"\xff\xd8"):
        return data.find(b"\xff\xd9", _scan_start(data)) >= 0
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data
    return True


def _scan_start(data: bytes) -> int:
    """Offset of a JPEG's own picture data, past the embedded preview that has an end mark of its own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def _as_modality(image: Pixels, modality: Modality) -> Pixels:
    return _thermal(image) if modality is Modality.THERMAL else _rgb(image)


def _thermal(image: Pixels) -> Pixels:
    """H W in the image's own depth: the luminance where it has colour, which is exact where that colour is grey."""
    image = _without_alpha(image)
    return image if image.ndim == 2 else cast(Pixels, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def _rgb(image: Pixels) -> Pixels:
    """H W 3 uint8: grey repeated, 16 bits reduced to their upper 8."""
    image = _without_alpha(image)
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    order = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return cast(Pixels, cv2.cvtColor(image, order))


def _without_alpha(image: Pixels) -> Pixels:
    return image[:, :, :3] if image.ndim == 3 and image.shape[2] == 4 else image

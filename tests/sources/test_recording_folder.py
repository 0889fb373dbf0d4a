"""Folders of images: what is read, in which order, and what counts as damaged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from recording_files import VISIBLE, grey, write_images

from streamfuse.errors import UserError
from streamfuse.frames import DroppedFrame, Modality, Reason
from streamfuse.sources.pictures import Unreadable
from streamfuse.sources.recording import open_recording
from streamfuse.sources.recording_folder import open_folder

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def only(path: Path, modality: Modality) -> np.ndarray:
    (picture,) = open_folder(path, modality).read()
    assert isinstance(picture, np.ndarray), picture
    return picture


def test_natural_order_and_only_images(tmp_path: Path) -> None:
    write_images(tmp_path, ["f10", "f9", "f100"])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._f9.png").write_bytes(b"left by another system")
    assert open_folder(tmp_path, Modality.THERMAL).names == ("f9", "f10", "f100")


@pytest.mark.parametrize("ending", ["png", "tif", "tiff", "pgm", "bmp", "jpg"])
def test_every_image_format_is_read(tmp_path: Path, ending: str) -> None:
    write_images(tmp_path, ["0"], ending=ending)
    assert np.array_equal(only(tmp_path, Modality.THERMAL), grey(0))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_sixteen_bit_counts_are_kept_exactly(tmp_path: Path, ending: str) -> None:
    counts = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    cv2.imwrite(str(tmp_path / f"0.{ending}"), counts)
    assert np.array_equal(only(tmp_path, Modality.THERMAL), counts)


def test_real_radiometric_counts_are_kept_exactly() -> None:
    folder = SHARED / "raw16_flir" / "raw16"
    if not folder.exists():
        pytest.skip("shared data not here: raw16_flir")
    picture = next(open_folder(folder, Modality.THERMAL).read())
    assert isinstance(picture, np.ndarray)
    assert picture.dtype == np.uint16
    assert picture.max() > 255


def test_three_channel_grey_thermal_is_the_same_as_one_channel(tmp_path: Path) -> None:
    image = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    cv2.imwrite(str(tmp_path / "0.png"), np.dstack([image] * 3))
    assert np.array_equal(only(tmp_path, Modality.THERMAL), image)


def test_grey_visible_becomes_three_equal_channels(tmp_path: Path) -> None:
    write_images(tmp_path, ["0"])
    assert np.array_equal(only(tmp_path, Modality.RGB), np.dstack([grey(0)] * 3))


def test_alpha_is_left_out(tmp_path: Path) -> None:
    bgra = np.dstack([VISIBLE[:, :, ::-1], np.full((48, 64), 7, np.uint8)])
    cv2.imwrite(str(tmp_path / "0.png"), bgra)
    assert np.array_equal(only(tmp_path, Modality.RGB), VISIBLE)


def test_sixteen_bit_visible_is_reduced_and_told(tmp_path: Path) -> None:
    (tmp_path / "vis").mkdir()
    cv2.imwrite(str(tmp_path / "vis" / "0.png"), VISIBLE[:, :, ::-1].astype(np.uint16) * 256 + 255)
    pair = open_recording(write_images(tmp_path / "ir", ["0"]), tmp_path / "vis", pace="every")
    (frame,) = pair.rgb
    assert np.array_equal(frame.pixels, VISIBLE)
    assert any("visible is 16-bit" in warning for warning in pair.warnings)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp", "pgm"])
def test_an_image_cut_in_half_is_dropped_and_the_stream_goes_on(tmp_path: Path, ending: str) -> None:
    ir = write_images(tmp_path / "ir", ["0", "1", "2"], ending=ending)
    noisy = np.random.default_rng(1).integers(0, 255, (48, 64)).astype(np.uint8)
    cv2.imwrite(str(ir / f"1.{ending}"), noisy)
    whole = (ir / f"1.{ending}").read_bytes()
    (ir / f"1.{ending}").write_bytes(whole[: len(whole) // 2])
    vis = write_images(tmp_path / "vis", ["0", "1", "2"], colour=True)
    first, second, third = open_recording(ir, vis, pace="every").thermal
    assert isinstance(second, DroppedFrame)
    assert (second.reason, second.sequence, second.recording_ns) == (Reason.CORRUPT, 1, 33_333_333)
    assert f"1.{ending}" in second.detail
    assert (first.sequence, third.sequence) == (0, 2)


def test_a_cut_off_jpeg_with_a_whole_preview_inside_is_noticed(tmp_path: Path) -> None:
    write_images(tmp_path, ["0"], ending="jpg")
    image = (tmp_path / "0.jpg").read_bytes()
    preview = b"\xff\xe1" + (len(image) + 2).to_bytes(2, "big") + image
    for name, data in (("whole", image), ("cut", image[:-200])):
        (tmp_path / f"{name}.jpg").write_bytes(data[:2] + preview + data[2:])
    cut, whole = list(open_folder(tmp_path, Modality.THERMAL).read())[1:]
    assert isinstance(cut, Unreadable)
    assert np.array_equal(whole, grey(0))


@pytest.mark.parametrize("content", [b"", b"these are no pixels"])
def test_a_file_that_is_no_image_is_dropped_with_its_name(tmp_path: Path, content: bytes) -> None:
    (write_images(tmp_path, ["0"]) / "1.png").write_bytes(content)
    bad = list(open_folder(tmp_path, Modality.RGB).read())[1]
    assert bad == Unreadable(f"1.png: no decodable image in {len(content)} bytes")


def test_floating_point_images_are_not_guessed_at(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.tif"), np.ones((48, 64), np.float32))
    with pytest.raises(UserError, match=r"none of 1 images can be read .*float32 pixels; readable are 8- and 16-bit"):
        open_folder(tmp_path, Modality.THERMAL).look()


def test_further_pages_of_a_tiff_are_told(tmp_path: Path) -> None:
    cv2.imwritemulti(str(tmp_path / "stack.tif"), [grey(0), grey(1)])
    assert "it holds 2 pages and the first is used" in open_folder(tmp_path, Modality.THERMAL).warnings[0]


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    write_images(tmp_path / "ir", ["0"])
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "no").mkdir()
    with pytest.raises(UserError, match="asked for, found no image in it; readable are"):
        open_folder(tmp_path / "no", Modality.THERMAL)
    with pytest.raises(UserError, match=r"found 1 file that is no image and the folders ir, no \(give one of them\)"):
        open_folder(tmp_path, Modality.THERMAL)


def test_one_name_with_two_endings_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, ["0", "1"])
    write_images(tmp_path, ["1"], ending="jpg")
    with pytest.raises(UserError, match=r"1 image names occur with two endings \(first: 1\)"):
        open_folder(tmp_path, Modality.THERMAL)


def test_single_images_make_a_recording_of_one_frame(tmp_path: Path) -> None:
    ir, vis = write_images(tmp_path, ["hot"]) / "hot.png", write_images(tmp_path / "v", ["day"], colour=True)
    pair = open_recording(ir, vis / "day.png", pace="every")
    (thermal,), (rgb,) = pair.thermal, pair.rgb
    assert (thermal.name, rgb.name, pair.warnings) == ("hot", "day", ())
    assert thermal.capture_ns == rgb.capture_ns

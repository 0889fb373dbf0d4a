"""The alignment at the depth of what a box shows: shifted where the box says so, kept where it says too little."""

from __future__ import annotations

import numpy as np
import pytest

from streamfuse.calibrate import align as aligning
from streamfuse.calibrate.align import align
from streamfuse.calibrate.align_at import Box, InBox, look, shifted
from streamfuse.calibrate.align_fields import picture
from streamfuse.calibrate.align_search import corners
from streamfuse.errors import UserError
from tests.calibrate.scenes import SIZE, moved, scene, similar

LARGE = (480, 360)
THERMAL = (320, 256)
FAR = similar(1.35, 4.0, (6.0, -4.0), THERMAL, LARGE)
NEAR = Box(170, 110, 150, 130)


def two_depths(seed, parallax, where=NEAR):
    """A pair of which `FAR` is right but for what the visible image shows in a part: that is right `parallax` away."""
    thermal, visible = scene(seed, LARGE)
    seen = moved(thermal, FAR, THERMAL)
    near = moved(thermal, shifted(FAR, parallax), THERMAL)
    covered = np.zeros(LARGE[::-1], np.uint8)
    covered[where.y : where.y + where.height, where.x : where.x + where.width] = 1
    onto = moved(covered, shifted(FAR, parallax), THERMAL)
    return np.where(onto > 0, near, seen), visible


def pictures(pair):
    return picture(pair[0]), picture(pair[1])


class TestLook:
    @pytest.mark.parametrize("parallax", [(6.0, 0.0), (-6.0, 0.5), (0.0, 7.0), (4.0, -4.0)])
    def test_it_finds_the_parallax_of_what_the_box_shows_in_any_direction(self, parallax):
        said = look(FAR, pictures(two_depths(1, parallax)), NEAR)
        assert said.followed
        assert said.shift_px == pytest.approx(parallax, abs=0.7)
        assert said.agreeing > 0.3 > said.agreed

    def test_the_rest_of_the_image_has_no_say(self):
        said = look(FAR, pictures(two_depths(2, (6.0, 0.0))), Box(20, 20, 130, 90))
        assert said.believed
        assert not said.followed

    def test_a_shift_that_is_no_better_known_than_the_alignment_is_not_followed(self):
        said = look(shifted(FAR, (1.0, 0.0)), pictures(two_depths(3, (0.0, 0.0))), NEAR)
        assert (said.believed, said.followed) == (True, False)
        assert said.shift_px == pytest.approx((-1.0, 0.0), abs=0.6)

    def test_too_few_patches(self):
        said = look(FAR, pictures(two_depths(1, (6.0, 0.0))), Box(200, 150, 30, 30))
        assert not said.believed
        assert "seen by both cameras, at least 8 are needed" in said.doubt

    def test_what_the_thermal_camera_does_not_see(self):
        beside = shifted(FAR, (230.0, 0.0))
        said = look(beside, pictures(two_depths(1, (0.0, 0.0))), Box(0, 0, 150, 200))
        assert said.doubt.startswith("only 0 patches")

    def test_a_box_without_edges_in_common(self):
        thermal, visible = two_depths(1, (0.0, 0.0))
        other = moved(scene(50, LARGE)[0], FAR, THERMAL)
        said = look(FAR, pictures((other, visible)), NEAR)
        assert not said.followed
        assert "patches agree on a shift" in said.doubt
        flat = look(FAR, pictures((np.full_like(thermal, 90), visible)), NEAR)
        assert not flat.followed

    def test_two_depths_in_equal_parts_are_ambiguous(self):
        right_half = Box(NEAR.x + NEAR.width // 2, NEAR.y, NEAR.width // 2, NEAR.height)
        said = look(FAR, pictures(two_depths(1, (9.0, 0.0), right_half)), NEAR)
        assert said.doubt.startswith("two different shifts explain it equally well")

    @pytest.mark.parametrize(
        ("parallax", "doubt"), [(10.8, "by more than parallax explains"), (16.0, "agree on a shift")]
    )
    def test_more_than_parallax_is_not_followed(self, parallax, doubt):
        """The limit: 2.5 % of the 433 pixels that both see."""
        said = look(FAR, pictures(two_depths(1, (parallax, 0.0))), NEAR)
        assert doubt in said.doubt


class TestAlign:
    @pytest.fixture
    def far(self, monkeypatch):
        """The search is replaced by its answer: the depth that most of the image shows."""

        def put(probability=0.999):
            found = aligning.Alignment(FAR, probability, aligning.Evidence(0.5, 200, 1.0, 1.5), THERMAL, LARGE, pairs=1)
            monkeypatch.setattr(aligning, "_found", lambda pairs, on_step: found)

        return put

    def test_the_answer_is_shifted_to_the_depth_of_the_box(self, far):
        far()
        pair = two_depths(1, (6.0, 0.0))
        found = align([pair], at=NEAR)
        assert found.sure
        moved_by = corners(found.matrix, THERMAL) - corners(FAR, THERMAL)
        np.testing.assert_allclose(moved_by, np.tile(found.at.shift_px, (4, 1)), atol=1e-6)
        assert found.at.shift_px == pytest.approx((6.0, 0.0), abs=0.7)
        assert align([pair]).at is None

    def test_a_box_in_doubt_leaves_the_answer_as_it_is_and_makes_it_unsure(self, far):
        far()
        found = align([two_depths(1, (6.0, 0.0))], at=Box(200, 150, 30, 30))
        assert not found.sure
        np.testing.assert_array_equal(found.matrix, FAR)

    def test_a_box_does_not_make_an_unlikely_answer_sure(self, far):
        far(0.5)
        assert not align([two_depths(1, (6.0, 0.0))], at=NEAR).sure

    def test_the_box_is_of_the_first_pair_though_it_is_of_no_use_to_the_search(self, far):
        far()
        flat, visible = np.full(THERMAL[::-1], 90, np.uint8), two_depths(2, (0.0, 0.0))[1]
        found = align([(flat, visible), two_depths(1, (6.0, 0.0))], at=NEAR)
        assert not found.at.followed

    def test_a_box_outside_the_image_is_refused_before_the_search(self, monkeypatch):
        monkeypatch.setattr(aligning, "_found", lambda pairs, on_step: pytest.fail("searched"))
        with pytest.raises(UserError, match=r"--at 400,10,100,50: reaches out .* 480x360; X \+ W may be 480 at most"):
            align([two_depths(1, (0.0, 0.0))], at=Box(400, 10, 100, 50))


class TestBox:
    def test_it_is_read_as_it_is_written(self):
        assert Box.parse(" 3,4, 50,60") == Box(3, 4, 50, 60)
        assert str(Box(3, 4, 50, 60)) == "3,4,50,60"

    @pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1.5,2,3,4", "1 2 3 4"])
    def test_what_is_no_box(self, text):
        with pytest.raises(UserError, match="give four whole numbers X,Y,W,H"):
            Box.parse(text)

    @pytest.mark.parametrize("box", [Box(0, 0, 0, 9), Box(5, 5, 10, -3)])
    def test_no_area(self, box):
        with pytest.raises(UserError, match="has no area"):
            box.check(SIZE)

    @pytest.mark.parametrize("box", [Box(-1, 0, 9, 9), Box(0, -1, 9, 9), Box(232, 0, 9, 9), Box(0, 172, 9, 9)])
    def test_outside(self, box):
        with pytest.raises(UserError, match="240x180"):
            box.check(SIZE)
        Box(231, 171, 9, 9).check(SIZE)

    def test_it_holds_the_centres_of_its_pixels(self):
        points = np.array([[3, 4], [52, 63], [53, 63], [2, 4], [3, 64.0]])
        assert Box(3, 4, 50, 60).holds(points).tolist() == [True, True, False, False, False]


def test_followed_means_believed_and_noticed():
    assert InBox(NEAR, (6.0, 0.0), 0.6, 0.1, 40, noticed=True).followed
    assert not InBox(NEAR, (6.0, 0.0), 0.6, 0.1, 40, noticed=True, doubt="few").followed
    assert not InBox(NEAR, (0.5, 0.0), 0.6, 0.6, 40, noticed=False).followed

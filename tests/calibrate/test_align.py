"""First alignment on drawn scenes: right where it says sure, not sure where there is nothing to find, clear errors."""

from __future__ import annotations

import numpy as np
import pytest

from streamfuse.calibrate import align as aligning
from streamfuse.calibrate import align_search
from streamfuse.calibrate.align import Alignment, align
from streamfuse.calibrate.align_fields import picture
from streamfuse.calibrate.align_patches import LEVELS, Frame, Patches, climb, oddness, refine
from streamfuse.calibrate.align_patches import moved as changed
from streamfuse.calibrate.align_search import Place, corners, distinct, search, stretch
from streamfuse.calibrate.align_sure import Evidence, agreement, beyond_chance
from streamfuse.errors import UserError
from tests.calibrate.scenes import SIZE, moved, scene, similar

THERMAL = (160, 128)
TRUTH = similar(1.35, 7.0, (9.0, -6.0), THERMAL)


@pytest.fixture(scope="module")
def few_scales():
    """The search over a quarter of its grid, around the truth and away from it, to save time."""
    kept = align_search.SCALES, align_search.ROTATIONS
    align_search.SCALES = kept[0][8:18:2]
    align_search.ROTATIONS = kept[1][::2]
    yield
    align_search.SCALES, align_search.ROTATIONS = kept


def pair(seed, matrix=TRUTH):
    thermal, visible = scene(seed)
    return moved(thermal, matrix, THERMAL), visible


def error(found, matrix=TRUTH, size=THERMAL):
    return float(np.linalg.norm(corners(found, size) - corners(matrix, size), axis=1).mean())


@pytest.mark.usefixtures("few_scales")
class TestAlign:
    def test_it_finds_scale_rotation_and_shift_and_is_sure(self):
        found = align([pair(1)])
        assert error(found.matrix) < 1.0
        assert found.sure
        assert found.error_px < 5
        assert (found.scale, found.rotation_deg) == (pytest.approx(1.35, rel=0.01), pytest.approx(7.0, abs=0.4))
        assert found.shift_px == pytest.approx((9.0, -6.0), abs=1.0)

    def test_slight_perspective(self):
        tilted = TRUTH @ np.array([[1, 0, 0], [0, 1, 0], [5e-4, -4e-4, 1]])
        assert error(align([pair(2, tilted)]).matrix, tilted) < 0.4 * error(TRUTH, tilted)

    def test_two_different_scenes_are_never_sure(self):
        for seed in range(3):
            thermal, _ = pair(10 + seed)
            _, visible = scene(20 + seed)
            found = align([(thermal, visible)])
            assert found.probability < 0.5, found.evidence

    def test_pairs_are_solved_together(self):
        """One pair in fog is beyond help; three of them, each with other noise, are not."""
        draw = np.random.default_rng(4)
        foggy = []
        for seed in (5, 6, 7):
            thermal, visible = pair(seed)
            dim = 100 + 0.1 * (thermal.astype(np.float32) - 100) + draw.normal(0, 6, thermal.shape)
            foggy.append((dim.clip(0, 255).astype(np.uint8), visible))
        single = align(foggy[:1])
        together = align(foggy)
        assert together.probability >= single.probability
        assert error(together.matrix) < 3.0

    def test_flat_pairs_are_left_out(self):
        thermal, visible = pair(1)
        assert align([(np.full_like(thermal, 9), visible), (thermal, visible)]).pairs == 1


class TestHowFarItLooks:
    """Places come with the score of the search and the belief that they would have once made exact."""

    @pytest.fixture
    def look(self, monkeypatch):
        def run(beliefs):
            places = [Place(similar(1, 0, (500.0 * index, 0), THERMAL), -index) for index in range(len(beliefs))]
            belief = {id(place): chance for place, chance in zip(places, beliefs, strict=True)}
            tried = []

            def exact(place, pairs, margin):
                tried.append(places.index(place))
                return Alignment(
                    place.matrix, belief[id(place)], Evidence(0.5, 100, 1.0, margin), THERMAL, SIZE, len(pairs)
                )

            monkeypatch.setattr(aligning, "search", lambda pairs, on_step: places)
            monkeypatch.setattr(aligning, "_closer", lambda place, pairs: place)
            monkeypatch.setattr(aligning, "_exact", exact)
            monkeypatch.setattr(aligning, "LOT", 10)
            return align([pair(1)]).probability, tried

        return run

    def test_a_likely_answer_ends_the_search(self, look):
        assert look([0.6, 0.999] + 18 * [0.0]) == (0.6, [0])

    def test_the_three_best_of_a_lot_are_made_exact(self, look):
        assert look([0.1, 0.0, 0.7, 1.0] + 16 * [0.0]) == (0.7, [0, 1, 2])

    def test_the_next_lot_is_for_unlikely_answers(self, look):
        assert look([0.1] + 9 * [0.0] + [0.2, 0.98, 1.0] + 7 * [0.0]) == (0.98, [0, 1, 2, 10, 11])

    def test_the_best_belief_of_all_lots_wins(self, look):
        assert look([0.0, 0.3] + 18 * [0.01]) == (0.3, [0, 1, 2, 10, 11, 12])


def test_places_are_distinct_by_their_corners_best_first():
    places = [
        Place(similar(1, 0, (x, 0), THERMAL), score) for x, score in ((0, 1.0), (3, 4.0), (40, 3.0), (42, 2.0), (9, 0))
    ]
    assert [place.score for place in distinct(places, THERMAL)] == [4.0, 3.0]
    assert [place.score for place in distinct(places, THERMAL, 1)] == [4.0]


def test_a_place_beyond_the_grid_of_the_search_is_near_one_of_its_places():
    thermal, visible = pair(8)
    best = search([(picture(thermal), picture(visible))])[0]
    assert error(best.matrix) < 0.08 * SIZE[0]


def test_whitening_leaves_long_edges_less_to_say():
    """Storeys repeat, and match one storey too high almost as well; what lies between them does not."""
    draw = np.random.default_rng(0)
    storeys = np.zeros((64, 96), np.complex64)
    storeys[::8] = 12
    texture = draw.normal(size=(64, 96, 2)).astype(np.float32).view(np.complex64)[..., 0]
    trusted = np.ones((64, 96), np.float32)

    def second_best(whiten):
        visible = align_search._Spectrum(storeys + texture, trusted, (80, 108))
        if whiten:
            visible = visible.whitened()
        thermal = align_search._Spectrum(storeys + texture, trusted, (80, 108))
        height = np.fft.ifft2(np.conj(thermal.field) * visible.field).real
        return height[8, 0] / height[0, 0]

    assert second_best(whiten=False) > 0.7
    assert second_best(whiten=True) < 0.5


def test_refinement_forgives_a_rough_start():
    rough = similar(1.31, 8.5, (6.0, -3.0), THERMAL)
    thermal, visible = pair(9)
    assert error(rough) > 4
    assert error(refine(rough, [(picture(thermal), picture(visible))], LEVELS)) < 1.0


def test_climbing_finds_the_common_motion_of_patches_that_each_hold_one_direction():
    """Half of the patches see upright edges only, half level ones: no patch alone knows where it is."""
    grid = np.stack(np.meshgrid(np.linspace(-0.9, 0.9, 8), np.linspace(-0.7, 0.7, 7)), axis=-1).reshape(-1, 2)
    unit, reach = 0.01, 8
    wanted = np.array([0.03, -0.02, 0.01, 0.0, 0.0, 0.01, 0.0, 0.0])
    shift = wanted[:2] + grid * 0.01
    offsets = np.arange(-reach, reach + 1)
    surfaces = np.zeros((len(grid), 2 * reach + 1, 2 * reach + 1), np.float32)
    for index, moved_by in enumerate(shift / unit):
        axis = index % 2
        bump = np.exp(-0.5 * ((offsets - moved_by[axis]) / 1.5) ** 2)
        surfaces[index] = bump[None, :] if axis == 0 else bump[:, None]
    found = climb(Patches(surfaces, grid, unit), 6)
    assert found[:2] == pytest.approx(wanted[:2], abs=0.1 * unit)
    assert found[2:6] == pytest.approx(wanted[2:6], abs=0.002)


def test_oddness_is_what_turning_and_scaling_leave():
    one = picture(scene(1)[0])
    shown = Frame((240, 180), np.eye(3))
    assert np.abs(oddness(similar(1.2, 9, (5, 3), SIZE), shown, (one, one))).max() < 1e-9
    skewed = changed(np.eye(3), np.array([0, 0, 0.02, 0, 0, -0.02, 0.01, 0]), shown)
    assert oddness(skewed, shown, (one, one)) == pytest.approx([0.02, 0, 0.01, 0], abs=1e-3)


def test_chance_explains_few_agreeing_patches_and_not_many():
    draw = np.random.default_rng(0)
    surfaces = draw.random((100, 25, 25)).astype(np.float32)
    at = draw.uniform(-1, 1, (100, 2))
    assert beyond_chance(Patches(surfaces, at, 0.01)) < 5
    surfaces[:30, 12, 12] = 2
    assert beyond_chance(Patches(surfaces, at, 0.01)) > 40


def test_patches_agree_with_the_truth_and_not_with_what_lies_beside_it():
    thermal, visible = pair(1)
    pictures = [(picture(thermal), picture(visible))]
    assert agreement(TRUTH, pictures) > 0.5
    assert agreement(similar(1.35, 7.0, (17.0, -6.0), THERMAL), pictures) < 0.2


def test_half_pixels_are_kept():
    corner = stretch((100, 50), (50, 25)) @ np.array([-0.5, -0.5, 1])
    assert corner[:2] == pytest.approx([-0.5, -0.5])


class TestBadInput:
    def test_no_pairs(self):
        with pytest.raises(UserError, match="no pairs"):
            align([])

    def test_mixed_sizes(self):
        thermal, visible = pair(1)
        with pytest.raises(UserError, match="160x128 with 120x90 and 160x128 with 240x180"):
            align([(thermal, visible), (thermal, visible[:90, :120])])

    def test_flat_images(self):
        thermal, visible = pair(1)
        with pytest.raises(UserError, match="flat"):
            align([(np.full_like(thermal, 40), visible)])

    def test_tiny_images(self):
        thermal, visible = pair(1)
        with pytest.raises(UserError, match="at least 48"):
            align([(thermal[:30], visible)])

"""Figures of sequences: a scene that moves, seen by methods that follow it or do not."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from streamfuse.evaluation.video import motion, sequence_scores, step_scores


@pytest.fixture(scope="module")
def moving():
    """Five frames of texture that moves by (3, 2) pixels a step."""
    noise = np.random.default_rng(5).normal(0, 1, (140, 180))
    ground = cv2.GaussianBlur(noise, (0, 0), 2.5)
    ground = (128 + 60 * ground / np.abs(ground).max()).astype(np.uint8)
    return [ground[20 - 2 * step :, 20 - 3 * step :][:96, :128].copy() for step in range(5)]


def mean(rows, column):
    return float(np.mean([row[column] for row in rows]))


def test_motion_finds_where_each_pixel_came_from(moving):
    moved = motion(moving[0], moving[1])
    rows, columns = np.indices(moving[0].shape)
    inner = np.s_[12:-12, 12:-12]
    assert np.median((columns - moved.x)[inner]) == pytest.approx(3, abs=0.2)
    assert np.median((rows - moved.y)[inner]) == pytest.approx(2, abs=0.2)
    assert moved.sure[inner].mean() > 0.9
    assert not moved.sure[0].any()  # came from above the picture


def test_what_follows_the_scene_scores_better_than_what_stays_and_than_flicker(moving):
    flicker = [frame + 20 * (index % 2) for index, frame in enumerate(moving)]
    stuck = [moving[0]] * len(moving)
    frames = [
        (frame, {"follows": frame, "flickers": bright, "stays": still})
        for frame, bright, still in zip(moving, flicker, stuck, strict=True)
    ]
    told = sequence_scores(frames)
    assert {len(rows) for rows in told.values()} == {4}
    assert mean(told["follows"], "WE") < 2
    assert mean(told["stays"], "WE") > 3 * mean(told["follows"], "WE")
    assert mean(told["flickers"], "WE") == pytest.approx(20, abs=1)
    assert mean(told["flickers"], "dMean") == pytest.approx(20, abs=1)
    assert mean(told["stays"], "dMean") == 0
    assert mean(told["follows"], "flowD") >= mean(told["follows"], "WE")


def test_a_flow_that_is_sure_nowhere_has_no_warp_error(moving):
    moved = motion(moving[0], moving[1])
    moved.sure[:] = False
    told = step_scores(moving[0], moving[1], moved)
    assert math.isnan(told["WE"])
    assert told["flowD"] >= 0


def test_a_sequence_has_one_size_and_enough_pixels(moving):
    with pytest.raises(ValueError, match="one size"):
        sequence_scores([(moving[0], {}), (moving[1][:50], {})])
    with pytest.raises(ValueError, match="16 pixels"):
        sequence_scores([(moving[0][:9], {}), (moving[1][:9], {})])

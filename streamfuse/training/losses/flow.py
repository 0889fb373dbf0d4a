"""Motion between two frames of one camera, for the temporal loss of those who train on video."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TOLERANCE_PX = 1.0
"""A pixel that does not come back this close when followed there and back was hidden in the previous frame."""


def flow_between(now: NDArray[np.uint8], before: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Where each pixel of `now` lies in `before`, H W of one source: flow 2 H W in pixels, visible 1 H W.

    Dense inverse search (Kroeger et al., ECCV 2016) as OpenCV has it; visible is 0 where the forward-backward check
    fails, else 1. Stack the results of a batch for `Previous`. Raises cv2.error for frames of different sizes.
    """
    there, back = _flow(now, before), _flow(before, now)
    places: NDArray[np.float32] = np.indices(now.shape, dtype=np.float32)
    returned = cv2.remap(back, places[1] + there[..., 0], places[0] + there[..., 1], cv2.INTER_LINEAR)
    visible = np.linalg.norm(there + returned, axis=-1) < TOLERANCE_PX
    flow = np.stack((there[..., 0], there[..., 1]))
    return torch.from_numpy(flow), torch.from_numpy(visible[None].astype(np.float32))


def _flow(now: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float32]:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return cast(NDArray[np.float32], search.calc(now, before, cast(Any, None)))

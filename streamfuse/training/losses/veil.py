"""What of a thermal image is wanted in a fused one: its contrast, without the grey veil over its bulk.

A thermal image's bulk lies wherever the camera's tone mapping put it, often at a middle grey that says nothing. The
maximum of both sources would lay that grey over every shadow of the visible image like fog, and a person who is a
slightly lighter grey would stay one. So brightness counts from a floor near the middle of the scene, and what is
much hotter than the scene is bright.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

HOT = 4.0
"""So many standard deviations above its mean a thermal image is fully bright."""
MOST_CONTRAST = 1.8
"""No contrast grows by more than this, so that the noise of an empty scene stays noise."""
BELOW = 0.4
"""What is colder than the floor keeps this share of its contrast, below black."""


def unveiled(thermal: Tensor, veil: float) -> Tensor:
    """Each image N 1 H W in [0, 1], stretched from its mean - `veil` standard deviations (0) to its hot end (1).

    At most 1; what is colder than the floor is a little below 0.
    """
    spread, mean = torch.std_mean(thermal, dim=(-2, -1), keepdim=True, correction=0)
    floor = (mean - veil * spread).clamp(min=0)
    room = ((mean + HOT * spread).clamp(max=1) - floor).clamp(min=1 / MOST_CONTRAST)
    return F.leaky_relu((thermal - floor) / room, BELOW).clamp(max=1)

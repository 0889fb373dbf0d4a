"""streamfuse-s: our small network; decides at half resolution, keeps every full-resolution pixel of both inputs.

A trunk of 16 channels at half resolution, told which image is livelier at each pixel, and by a coarse context path what
surrounds the pixel and what the whole image is like, says for every half-resolution pixel how much of either image's
brightness to take (weights), how strongly to let either image's detail through (gains), and what to add (offset). Since
detail = image - its halved self, that is

    fused = gain_t * thermal + gain_v * visible + [(weight_t - gain_t) * half_t + (weight_v - gain_v) * half_v + offset]

with the gains and the bracket enlarged bilinearly, and of the visible image less where a lamp hides something warm
(`glare`). All maps are bounded, so that no input, however odd, can make the output run away. Nothing is normalised per
image.

The full-resolution work is done on the four phases of each half-resolution pixel (pixel-unshuffled), where the
enlargement is one small convolution with fixed weights: on a CPU a third of the cost of an interpolation. What leaves
the trunk is a change of the visible image rather than an image, so that a short mantissa (bf16) costs little.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamfuse.models.glare import Glare
from streamfuse.models.limit import limited

COARSE = 8
"""Half-resolution pixels to one context pixel, along each side; images are padded to whole context pixels."""
MOST_WEIGHT = 1.5
MOST_GAIN = 1.3
"""A stronger one would only lift noise, and with it the flicker of a video."""
MOST_OFFSET = 0.5
QUIET = 0.007
"""Activity (mean deviation, of 1) below which neither image counts as the livelier one."""
GAINS, WEIGHTS, OFFSET = slice(0, 2), slice(2, 4), slice(4, 5)
"""What the head says, channel by channel."""


class StreamfuseS(nn.Module):
    """forward(thermal, visible) -> fused, all N 1 H W in [0, 1], any H and W; about 10 000 parameters."""

    enlarging: Tensor

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.balance = Balance()
        self.glare = Glare()
        self.stem = convolution(9, channels)
        self.context = Context(channels)
        self.body = nn.Sequential(convolution(channels, channels), convolution(channels, channels))
        self.head = nn.Conv2d(channels, OFFSET.stop, 1)
        self.lively = nn.Parameter(torch.zeros(1, OFFSET.stop, 1))
        self.register_buffer("enlarging", bilinear_phases(3), persistent=False)
        self._start_as_choice()

    def forward(self, thermal: Tensor, visible: Tensor) -> Tensor:
        height, width = thermal.shape[-2:]
        phases = torch.cat((_phases(thermal), _phases(visible)), dim=1)
        change = F.pixel_shuffle(self.change(phases), 2)[..., :height, :width]
        return limited(visible + change, training=self.training)

    def change(self, phases: Tensor) -> Tensor:
        """Thermal and visible phases N 8 h w -> what is added to the visible ones, N 4 h w."""
        thermal, visible = phases[:, :4], phases[:, 4:]
        livelier, kept = self.balance(phases), self.glare(phases).flatten(2)
        seen = self.stem(torch.cat((phases, livelier), dim=1))
        # as rows: what convolutions leave interleaved by channel is parted once, not at every use
        said = self.head(self.body(seen + self.context(seen))).flatten(2) + self.lively * livelier.flatten(2)
        gains, weights = MOST_GAIN * torch.sigmoid(said[:, GAINS]), MOST_WEIGHT * torch.sigmoid(said[:, WEIGHTS])
        excess = weights - gains
        added = (
            excess[:, :1] * thermal.flatten(2).mean(dim=1, keepdim=True)
            + excess[:, 1:] * kept * visible.flatten(2).mean(dim=1, keepdim=True)
            + MOST_OFFSET * torch.tanh(said[:, OFFSET])
        )
        maps = torch.cat((gains[:, :1], gains[:, 1:] * kept - 1, added), dim=1).reshape(-1, 3, *thermal.shape[-2:])
        full = F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="replicate"), self.enlarging)
        return full[:, :4] * thermal + full[:, 4:8] * visible + full[:, 8:]

    def _start_as_choice(self) -> None:
        """Before training: somewhat more than half of either brightness, the livelier detail, nothing added."""
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.bias.zero_()
            self.head.bias[WEIGHTS] = torch.logit(torch.tensor(0.6 / MOST_WEIGHT))
            self.lively[:, 0], self.lively[:, 1] = 1.7, -1.7


def balance(phases: Tensor) -> Tensor:
    """Which image is livelier: phases N 8 h w -> N 1 h w, from -1 (visible alone) over 0 to 1 (thermal alone)."""
    hot, seen = activity(phases[:, :4]), activity(phases[:, 4:])
    return (hot - seen) / (hot + seen + QUIET)


def activity(phases: Tensor) -> Tensor:
    """Mean deviation of the pixels from their half-resolution pixel, in a window of 6 pixels: N 4 h w -> N 1 h w."""
    deviation = (phases - phases.mean(dim=1, keepdim=True)).abs().mean(dim=1, keepdim=True)
    return F.avg_pool2d(deviation, 3, stride=1, padding=1, count_include_pad=False)


class Balance(nn.Module):
    """`balance` by two convolutions with fixed weights: on a CPU a third of the cost of means and pooling.

    The same but along the border, where the window is cut and QUIET counts for more.
    """

    deviating: Tensor
    comparing: Tensor

    def __init__(self) -> None:
        super().__init__()
        apart = (torch.eye(4) - 1 / 4)[:, :, None, None]
        difference_and_sum = torch.tensor([[1.0] * 4 + [-1.0] * 4, [1.0] * 8]) / 36
        self.register_buffer("deviating", apart.repeat(2, 1, 1, 1), persistent=False)
        self.register_buffer("comparing", difference_and_sum[:, :, None, None].repeat(1, 1, 3, 3), persistent=False)

    def forward(self, phases: Tensor) -> Tensor:
        deviations = F.conv2d(phases, self.deviating, groups=2).abs()
        # as rows, for the same reason as in StreamfuseS.change
        compared = F.conv2d(deviations, self.comparing, padding=1).flatten(2)
        livelier = compared[:, :1] / (compared[:, 1:] + QUIET)
        return livelier.reshape(-1, 1, *phases.shape[-2:])


class Context(nn.Module):
    """What surrounds a pixel (a window of about 80) and what the image is like as a whole: N C h w -> the same.

    The whole image speaks as mean and mean absolute deviation per channel, which stay exact enough in bf16 where a
    variance would not.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = nn.Sequential(convolution(channels, 8), convolution(8, 8), nn.Conv2d(8, channels, 1))
        self.whole = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, seen: Tensor) -> Tensor:
        coarse = F.avg_pool2d(seen, COARSE)
        mean = coarse.mean(dim=(2, 3), keepdim=True)
        spread = (coarse - mean).abs().mean(dim=(2, 3), keepdim=True)
        told = self.around(coarse) + self.whole(torch.cat((mean, spread), dim=1))
        return F.interpolate(told, scale_factor=float(COARSE), mode="bilinear", align_corners=False)


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    """3 x 3, size kept, leaky: a unit that is off still learns."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.1))


def bilinear_phases(maps: int) -> Tensor:
    """Kernels (4 * maps) maps 3 3: the four pixels that bilinear doubling makes of each pixel, row by row."""
    taps = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
    kernels = torch.zeros(maps, 4, maps, 3, 3)
    for index in range(maps):
        kernels[index, :, index] = torch.einsum("py,qx->pqyx", taps, taps).flatten(0, 1)
    return kernels.flatten(0, 1)


def _phases(image: Tensor) -> Tensor:
    """N 1 H W -> N 4 h w, its border continued to whole context pixels."""
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, -width % (2 * COARSE), 0, -height % (2 * COARSE)), mode="replicate")
    return F.pixel_unshuffle(padded, 2)

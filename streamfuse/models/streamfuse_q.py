"""streamfuse-q: our quality network; the same idea as streamfuse-s with more eyes, more bands and finer decisions.

Both images are parted into three bands (detail, structure, brightness). A trunk that sees half and quarter resolution
and what surrounds and sums up the image says for every full-resolution pixel how much of each band of either image to
take, and what to add:

    fused = sum over bands of gain_t * thermal band + gain_v * visible band, + offset

with the visible image darkened where a lamp hides something warm (`glare`). All maps are bounded, so that no input,
however odd, can make the output run away. Nothing is normalised per image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamfuse.models.glare import Glare
from streamfuse.models.limit import limited
from streamfuse.models.streamfuse_s import Context, balance, convolution

BANDS = 3
MAPS = 2 * BANDS + 1
"""Gains of the thermal and the visible detail, structure and brightness, in this order; and the offset."""
MOST_GAINS = (1.3, 1.3, 1.3, 1.3, 1.5, 1.5)
"""Of thermal and visible detail, structure and brightness; stronger detail would only lift noise."""
MOST_OFFSET = 0.5
STEP = 32
"""Images are padded to whole context pixels: two halvings and the context's eight."""


class StreamfuseQ(nn.Module):
    """forward(thermal, visible) -> fused, all N 1 H W in [0, 1], any H and W; about 200 000 parameters."""

    most: Tensor

    def __init__(self, channels: int = 32, inner: int = 64) -> None:
        super().__init__()
        self.glare = Glare()
        self.stem = convolution(9, channels)
        self.down = nn.Sequential(nn.Conv2d(channels, inner, 3, stride=2, padding=1), nn.LeakyReLU(0.1))
        self.context = Context(inner)
        self.deep = nn.Sequential(Residual(inner), Residual(inner))
        self.up = nn.Conv2d(inner, channels, 1)
        self.body = Residual(channels)
        self.head = nn.Conv2d(channels, 4 * MAPS, 3, padding=1)
        self.lively = nn.Parameter(torch.zeros(1, 4 * MAPS, 1, 1))
        self.register_buffer("most", torch.tensor(MOST_GAINS).view(1, -1, 1, 1), persistent=False)
        self._start_as_choice()

    def forward(self, thermal: Tensor, visible: Tensor) -> Tensor:
        height, width = thermal.shape[-2:]
        images = F.pad(torch.cat((thermal, visible), dim=1), (0, -width % STEP, 0, -height % STEP), mode="replicate")
        phases = F.pixel_unshuffle(images, 2)
        livelier = balance(phases)  # Balance saves nothing here and costs accuracy in bf16 (docs/engines.md)
        said = F.pixel_shuffle(self.head(self.seen(phases, livelier)) + self.lively * livelier, 2)
        gains = self.most * torch.sigmoid(said[:, :-1])
        kept = F.interpolate(self.glare(phases), scale_factor=2.0, mode="bilinear", align_corners=False)
        taken = gains * bands(torch.cat((images[:, :1], kept * images[:, 1:]), dim=1))
        fused = taken.sum(dim=1, keepdim=True) + MOST_OFFSET * torch.tanh(said[:, -1:])
        return limited(fused[..., :height, :width], training=self.training)

    def seen(self, phases: Tensor, livelier: Tensor) -> Tensor:
        """Phases N 8 h w and which image is livelier N 1 h w -> features N channels h w."""
        near = self.stem(torch.cat((phases, livelier), dim=1))
        far = self.down(near)
        far = self.deep(far + self.context(far))
        return self.body(near + F.interpolate(self.up(far), scale_factor=2.0, mode="bilinear", align_corners=False))

    def _start_as_choice(self) -> None:
        """Before training: somewhat more than half of either brightness, the livelier detail and structure."""
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        start = torch.tensor([0.0, 0.0, 0.0, 0.0, -0.4, -0.4, 0.0])
        slope = torch.tensor([1.7, -1.7, 1.7, -1.7, 0.0, 0.0, 0.0])
        with torch.no_grad():
            self.head.bias.copy_(start.repeat_interleave(4))
            self.lively[0, :, 0, 0] = slope.repeat_interleave(4)


class Residual(nn.Module):
    """Two convolutions beside the identity: N C h w -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(convolution(channels, channels), nn.Conv2d(channels, channels, 3, padding=1))
        last = self.change[1]
        nn.init.normal_(last.weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        return features + self.change(features)


def bands(images: Tensor) -> Tensor:
    """N 2 H W -> N 6 H W: detail of both, structure of both, brightness of both; the bands of an image add up to it."""
    halved, coarse = F.avg_pool2d(images, 2), F.avg_pool2d(images, 8)
    middle, base = (
        F.interpolate(image, size=images.shape[-2:], mode="bilinear", align_corners=False) for image in (halved, coarse)
    )
    return torch.cat((images - middle, middle - base, base), dim=1)

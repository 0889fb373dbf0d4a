"""Detection of a calibration target in one image of either spectrum.

    sighting = detect(image, target)      # None: not seen

The image is grey uint8, RGB uint8 (false colour or not) or uint16 counts. It is prepared in several ways until one
shows the target; its points are then refined in the image as recorded, judged one by one, and refused where they do
not lie on a plane or belong to a board of another size.
"""

from __future__ import annotations

from streamfuse.calibrate.detect.detect import Look, detect, look_for

__all__ = ["Look", "detect", "look_for"]

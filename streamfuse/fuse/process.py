"""Settings of the whole process that must be made before torch loads; each was measured to matter.

OpenMP threads that spin at a barrier steal the cores the pipeline's own threads need; OpenCV's pool likewise. glibc
hands freed image buffers back to the kernel and faults them in again every frame, which makes a chain of image
operations several times slower: let it keep them.
"""

from __future__ import annotations

import ctypes
import os
import sys

import cv2

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def prepare_process() -> None:
    """Passive waiting, one OpenCV thread, freed image buffers kept. Does nothing a second time."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    cv2.setNumThreads(1)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
            libc.mallopt(M_TRIM_THRESHOLD, 512 << 20)

"""What hardware tells: tegrastats lines (made up after the documented form), a fake of NVML, sums over a run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streamfuse.bench.gauges import Reading, told
from streamfuse.bench.jetson import parse
from streamfuse.bench.nvidia import NvmlGauge, reasons

ORIN = (
    "11-21-2026 13:20:11 RAM 5120/15656MB (lfb 12x4MB) SWAP 0/7828MB (cached 0MB) "
    "CPU [12%@1984,8%@1984,off,off,3%@729,0%@729,0%@729,0%@729] EMC_FREQ 14%@3199 GR3D_FREQ 47%@[918,910] "
    "NVENC off cpu@52.5C soc2@49.6C tboard@41C gpu@50.25C tj@53.1C cv0@-256C "
    "VDD_IN 11240mW/10980mW VDD_CPU_GPU_CV 4120mW/3990mW VDD_SOC 2510mW/2480mW"
)
AGX = (
    "RAM 9010/30588MB (lfb 3x4MB) SWAP 0/15294MB (cached 0MB) CPU [1%@2201,0%@2201] GR3D_FREQ 0% "
    "CPU@47.3C Tboard@38C GPU@43.9C VDD_GPU_SOC 3200mW/3200mW VDD_CPU_CV 800mW/800mW VIN_SYS_5V0 4000mW/4000mW"
)
NANO = (
    "RAM 1200/3964MB (lfb 2x4MB) CPU [5%@1479] EMC_FREQ 0% GR3D_FREQ 21% PLL@30C CPU@33C GPU@31.5C "
    "POM_5V_IN 2580/2610 POM_5V_GPU 120/110"
)


def test_an_orin_line_tells_everything():
    assert parse(ORIN, 7) == Reading(
        at_ns=7, gpu_percent=47, gpu_mhz=918, memory_mhz=3199, temperature_c=50.25, power_mw=11240
    )


def test_a_board_without_a_whole_rail_adds_its_rails():
    reading = parse(AGX, 0)
    assert (reading.gpu_percent, reading.gpu_mhz, reading.memory_mhz) == (0, None, None)
    assert (reading.power_mw, reading.temperature_c) == (8000, 43.9)


def test_an_older_line_without_units_is_read_too():
    reading = parse(NANO, 0)
    assert (reading.power_mw, reading.gpu_percent, reading.temperature_c) == (2580, 21, 31.5)


@pytest.mark.parametrize("line", ["", "tegrastats: error", "RAM 1/2MB CPU [off]"])
def test_a_line_that_tells_nothing_makes_nothing_up(line):
    assert parse(line, 3) == Reading(at_ns=3)


class FakeNvml:
    """The functions of NVML that are used; power is not supported on this card."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    class NVMLError(Exception):
        pass

    def __init__(self):
        self.ended = False

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return ("card", index)

    def nvmlDeviceGetName(self, card):  # noqa: N802
        return b"Test GPU"

    def nvmlDeviceGetUtilizationRates(self, card):  # noqa: N802
        return SimpleNamespace(gpu=63)

    def nvmlDeviceGetClockInfo(self, card, kind):  # noqa: N802
        return {1: 1410, 2: 2619}[kind]

    def nvmlDeviceGetTemperature(self, card, kind):  # noqa: N802
        return 55

    def nvmlDeviceGetPowerUsage(self, card):  # noqa: N802
        raise self.NVMLError("not supported")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, card):  # noqa: N802
        return 0x40 | 0x01

    def nvmlShutdown(self):  # noqa: N802
        self.ended = True


def test_an_nvidia_card_tells_what_it_supports():
    nvml = FakeNvml()
    gauge = NvmlGauge(nvml)
    reading = gauge.read()
    assert gauge.about == "Test GPU"
    assert (reading.gpu_percent, reading.gpu_mhz, reading.memory_mhz) == (63, 1410, 2619)
    assert (reading.temperature_c, reading.power_mw) == (55, None)
    assert reading.throttled == ("hardware thermal limit",)
    gauge.close()
    assert nvml.ended


def test_the_fakes_functions_are_those_of_the_real_bindings():
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed here")
    names = [name for name in vars(FakeNvml) if name.startswith(("nvml", "NVML"))]
    assert not [name for name in names if not hasattr(pynvml, name)]


def test_idle_is_no_throttling():
    assert reasons(0x01 | 0x02) == ()
    assert reasons(0x04 | 0x80) == ("power cap", "power brake")


def test_energy_is_mean_power_by_time_by_frame():
    second = 1_000_000_000
    readings = [
        Reading(at_ns=k * second, power_mw=power, gpu_mhz=900 + k, temperature_c=40.0 + k, throttled=why)
        for k, (power, why) in enumerate([(9000, ()), (10000, ("power cap",)), (11000, ())])
    ]
    summed = told(readings, frames=40)
    assert summed["power_w"] == 10
    assert summed["mj_per_frame"] == 500  # 10 W for 2 s over 40 frames
    assert summed["gpu_mhz"] == {"min": 900, "max": 902}
    assert summed["temperature_c"] == {"start": 40, "end": 42}
    assert summed["throttled"] == ["power cap"]
    assert summed["gpu_percent"] is None
    assert told([], frames=40) is None

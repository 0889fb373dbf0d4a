"""The message layout: what goes in comes out, golden bytes, the schema, and nothing but WireError for what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamfuse.errors import WireError
from streamfuse.frames import Alignment, Clock, FusedFrame, InputInfo, Radiometric, State, Turn
from streamfuse.timing import STAGES
from streamfuse.wire import Bye, Heartbeat, Info, Origin, decode, encode, encode_record, split_topic
from streamfuse.wire_header import ns_from_us, us_from_ns

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).resolve().parents[1] / "docs" / "sf1.schema.json").read_text())
)
BOOT = "0c6f0c54-5b1e-4c7a-9d3a-3f0f5f7f2a11"
ORIGIN = Origin(rig="gate", boot_id=BOOT, published_ns=2_000_000_000, published_wall_ns=1_790_000_000_123_456_789)
COUNT = st.integers(0, 2**62)
TIME = st.integers(-(2**40), 2**50)
NAME = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)


def pixels(channels: str) -> st.SearchStrategy[np.ndarray]:
    """Images of 1 to 5 pixels a side; the strides are not always contiguous."""
    shape = st.tuples(st.integers(1, 5), st.integers(1, 5))
    dtype = np.uint16 if channels == "mono16" else np.uint8

    def image(arguments: tuple[tuple[int, int], int, bool]) -> np.ndarray:
        (height, width), seed, flipped = arguments
        full = (height, width, 3) if channels == "rgb8" else (height, width)
        made = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, full, dtype=dtype, endpoint=True)
        return made[::-1, ::-1] if flipped else made

    return st.tuples(shape, st.integers(0, 9), st.booleans()).map(image)


KNOTS = st.lists(st.floats(0, 65535, width=32), min_size=1, max_size=5).map(lambda k: np.asarray(k, np.float32))


@st.composite
def fused_frames(draw: st.DrawFn) -> FusedFrame:
    kind = draw(st.sampled_from(["rgb8", "mono8", "mono16"]))
    recording_ns = draw(st.none() | st.integers(0, 2**61))
    own_time = st.none() if recording_ns is None else st.none() | st.integers(0, 2**61)
    inputs = st.builds(InputInfo, sequence=COUNT, capture_ns=TIME, recording_ns=own_time, held=st.booleans())
    thermal = draw(st.none() | inputs)
    knots = draw(st.none() | KNOTS)
    return FusedFrame(
        pixels=draw(pixels(kind)),
        stream={"rgb8": "fused", "mono8": "thermal", "mono16": "thermal-raw"}[kind],
        sequence=draw(COUNT),
        capture_ns=draw(TIME),
        clock=draw(st.sampled_from(Clock)),
        state=draw(st.sampled_from(State)),
        thermal=thermal,
        rgb=draw(st.none() | inputs),
        skew_ns=draw(st.none() | st.integers(-(2**40), 2**40)) if thermal else None,
        capture_error_ns=draw(st.integers(0, 2**40)),
        recording_ns=recording_ns,
        name=draw(NAME),
        engine=draw(NAME),
        model=draw(NAME),
        calibration=draw(NAME),
        confidence=draw(st.floats(0, 1)),
        alignment=draw(
            st.builds(
                Alignment,
                state=st.sampled_from(["off", "watching", "frozen"]),
                trusted=st.floats(0, 1),
                turn=st.none() | st.builds(Turn, frozen=st.booleans(), drift=st.just((0.001, -0.002))),
            )
        ),
        session=draw(NAME),
        drops=draw(st.dictionaries(NAME, COUNT, max_size=3)),
        stamps=draw(st.dictionaries(st.sampled_from(STAGES), TIME, max_size=9)),
        layers=draw(st.dictionaries(st.sampled_from(["visible", "depth"]), pixels("mono8"), max_size=2)),
        tone=(knots, knots / 65535) if knots is not None and kind != "rgb8" else None,
        radiometric=draw(st.none() | st.builds(Radiometric, st.floats(0, 1), st.floats(-300, 300), st.just("K")))
        if kind != "rgb8"
        else None,
    )


def example() -> FusedFrame:
    """The frame of the golden bytes; changing it means changing what every reader relies on."""
    return FusedFrame(
        pixels=np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3),
        stream="fused",
        sequence=7,
        capture_ns=1_990_000_000,
        clock=Clock.SENSOR,
        state=State.FUSED,
        thermal=InputInfo(sequence=14, capture_ns=1_991_500_250, held=True),
        rgb=InputInfo(sequence=7, capture_ns=1_990_000_000),
        skew_ns=1_500_250,
        capture_error_ns=250_500,
        engine="eager",
        model="laplacian",
        calibration="sha256:51f0",
        confidence=0.75,
        alignment=Alignment(
            state="following", drift_px=(1.25, -0.5), spread_px=0.25, applied_px=(1.0, 0.0), trusted=0.875
        ),
        session="5e55",
        drops={"late": 2},
        stamps={"offered": 1_990_000_000, "captured": 1_991_000_000, "fused": 1_999_500_000, "sent": 2_000_000_000},
    )


def same(a: FusedFrame, b: FusedFrame) -> None:
    """Every field but the arrays and the wall clock, which the message adds."""
    plain = {"pixels": np.zeros(1), "layers": {}, "tone": None, "wall_ns": None, "same_boot": True}
    for name in FusedFrame.__dataclass_fields__:
        if name not in plain:
            assert getattr(a, name) == getattr(b, name), name
    assert a.layers.keys() == b.layers.keys()
    for ours, theirs in [(a.pixels, b.pixels), *((a.layers[name], b.layers[name]) for name in a.layers)]:
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert (a.tone is None) == (b.tone is None)
    for ours, theirs in zip(a.tone or (), b.tone or (), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(fused_frames())
def test_what_goes_in_comes_out(frame):
    received = decode(encode(frame, ORIGIN), boot_id=BOOT)
    same(frame, received)
    assert received.same_boot
    assert received.wall_ns == frame.capture_ns + ORIGIN.wall_offset_ns


@given(fused_frames())
def test_every_header_follows_the_published_schema(frame):
    SCHEMA.validate(json.loads(encode(frame, ORIGIN)[1]))


@pytest.mark.parametrize(
    "record",
    [
        Info(session="5e55", content={"engine": "eager", "streams": ["fused"]}),
        Heartbeat(session="5e55", sequence=-1, fps=29.5, drops={"superseded": 3}),
        Heartbeat(session="5e55", sequence=7, fps=0.0, sources={"thermal": "stalled", "rgb": "live"}),
        Bye(session="5e55", sequence=99),
    ],
)
def test_records_come_out_as_they_went_in(record):
    parts = encode_record(record, ORIGIN)
    SCHEMA.validate(json.loads(parts[1]))
    assert decode(parts, boot_id=BOOT) == record


def test_heartbeats_of_earlier_publishers_say_nothing_of_sources():
    parts = encode_record(Heartbeat(session="5e55", sequence=7, fps=30.0), ORIGIN)
    header = json.loads(parts[1])
    del header["sources"]
    assert decode([parts[0], json.dumps(header).encode()], boot_id=BOOT).sources == {}
    header["sources"] = {"thermal": 3}
    with pytest.raises(WireError, match="sources"):
        decode([parts[0], json.dumps(header).encode()], boot_id=BOOT)


def test_the_schema_can_refuse():
    header = json.loads(encode(example(), ORIGIN)[1])
    for broken in (header | {"state": "fine"}, header | {"images": []}, {**header, "stamp": {"sec": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            SCHEMA.validate(broken)
    del header["session"]
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(header)


def golden(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob(f"{name}.part*"))]


def test_golden_bytes_are_written():
    assert [bytes(part) for part in encode(example(), ORIGIN)] == golden("sf1_fused_raw")


def test_golden_bytes_are_read():
    received = decode(golden("sf1_fused_raw"), boot_id="another")
    same(example(), received)
    assert not received.same_boot
    assert received.wall_ns == 1_790_000_000_113_456_789


def test_golden_thermal_counts_carry_their_scale_and_tone_curve():
    received = decode(golden("sf1_thermal_raw"), boot_id=BOOT)
    np.testing.assert_array_equal(received.pixels, [[7400, 7500, 65535], [0, 256, 1]])
    assert received.radiometric == Radiometric(0.04, -273.15, "C")
    counts, values = received.tone
    assert np.interp(0.5, values, counts) == 7450
    assert bytes(golden("sf1_thermal_raw")[2][:2]) == (7400).to_bytes(2, "little")


def test_alignment_has_two_coordinates_and_none_means_off():
    topic, header, pixels = golden("sf1_fused_raw")
    fields = json.loads(header)
    fields["alignment"]["drift_px"] = [1.0]
    with pytest.raises(WireError, match=r"header.alignment.drift_px: expected `array` of length 2"):
        decode([topic, json.dumps(fields).encode(), pixels], boot_id=BOOT)
    del fields["alignment"]
    assert decode([topic, json.dumps(fields).encode(), pixels], boot_id=BOOT).alignment == Alignment()


def test_golden_jpeg_is_read_red_first():
    header = json.loads(golden("sf1_fused_jpeg")[1])
    SCHEMA.validate(header)
    assert header["images"][0]["codec"] == "jpeg"
    received = decode(golden("sf1_fused_jpeg"), boot_id=BOOT)
    assert received.pixels.shape == (16, 24, 3)
    assert np.abs(received.pixels.astype(int) - [200, 90, 30]).max() <= 3
    assert not received.pixels.flags.writeable


@pytest.mark.parametrize("shape", [(24, 32, 3), (24, 32)])
def test_jpeg_there_and_back_is_close(shape):
    y, x = np.mgrid[:24, :32]
    plain = (4 * x + 3 * y).astype(np.uint8)
    image = plain if len(shape) == 2 else np.stack([plain, plain // 2, 255 - plain], axis=-1)
    parts = encode(replace(example(), pixels=image), ORIGIN, codec="jpeg", jpeg_quality=95)
    received = decode(parts, boot_id=BOOT)
    assert received.pixels.shape == shape
    assert np.abs(received.pixels.astype(int) - image).mean() < 3


def test_counts_stay_exact_when_the_codec_is_jpeg():
    counts = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    received = decode(encode(replace(example(), pixels=counts), ORIGIN, codec="jpeg"), boot_id=BOOT)
    np.testing.assert_array_equal(received.pixels, counts)


def test_pixels_are_not_copied():
    frame = example()
    parts = encode(frame, ORIGIN)
    assert np.shares_memory(np.frombuffer(parts[2], np.uint8), frame.pixels)
    received = decode([bytes(part) for part in parts[:2]] + [parts[2]], boot_id=BOOT)
    assert np.shares_memory(received.pixels, frame.pixels)
    with pytest.raises(ValueError, match="read-only"):
        received.pixels[0, 0, 0] = 1


def test_blue_first_images_of_others_are_read_red_first():
    def blue_first(header):
        header["images"][0]["encoding"] = "bgr8"

    received = decode(mutated(blue_first), boot_id=BOOT)
    np.testing.assert_array_equal(received.pixels, example().pixels[..., ::-1])


def test_stamp_is_the_wall_clock_live_and_the_recordings_own_time_in_a_replay():
    live = json.loads(encode(example(), ORIGIN)[1])
    assert live["stamp"] == {"sec": 1_790_000_000, "nsec": 113_456_789}
    assert live["clock"] == {"domain": "utc", "sync": "sensor", "error_us": 250.5}
    assert live["inputs"][0]["stamp"] == {"sec": 1_790_000_000, "nsec": 114_957_039}
    assert live["inputs"][0]["skew_us"] == 1500.25
    thermal = InputInfo(sequence=14, capture_ns=1_991_500_250, recording_ns=1_500_000_000_001_500_251)
    frame = replace(example(), recording_ns=1_500_000_000_000_000_001, thermal=thermal)
    replayed = json.loads(encode(frame, ORIGIN)[1])
    assert replayed["stamp"] == {"sec": 1_500_000_000, "nsec": 1}
    assert replayed["clock"]["domain"] == "recording"
    assert replayed["inputs"][0]["stamp"] == {"sec": 1_500_000_000, "nsec": 1_500_251}
    assert "stamp" not in replayed["inputs"][1]  # not known


def test_stages_say_where_the_time_went():
    header = json.loads(encode(example(), ORIGIN)[1])
    assert header["stages_us"] == {"captured": 1000.0, "fused": 8500.0, "sent": 500.0}


def mutated(change) -> list[bytes]:
    topic, header, *images = encode(example(), ORIGIN)
    values = json.loads(header)
    change(values)
    return [topic, json.dumps(values).encode(), *images]


def setting(path: str, value):
    def change(values):
        *parents, key = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in parents:
            values = values[step]
        values[key] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("images.0.width", 7, "step is 18 for 7x4 rgb8"),
        ("images.0.width", "7", r"header.images\[0\].width: expected `int`, got `str`"),
        ("images", [{}] * 9, "header.images"),
        ("images.0.width", 10**6, "each side must be 1 to 16384"),
        ("images.0.height", 5, "needs 90 bytes, found 72"),
        ("images.0.height", 0, "each side must be 1 to 16384"),
        ("images.0.step", 20, "step is 20"),
        ("images.0.bytes", 71, "announces 71 bytes, its part has 72"),
        ("images.0.encoding", "yuv", "known are mono8, mono16, rgb8, bgr8"),
        ("images.0.codec", "zip", "known are raw, jpeg"),
        ("images.0.codec", "jpeg", "not readable"),
        ("images", [], "lists 0 images"),
        ("images", {}, "header.images: expected `array`, got `object`"),
        ("seq", -1, "header.seq: expected `int` >= 0"),
        ("seq", 1.5, "header.seq: expected `int`, got `float`"),
        ("seq", 2**63, "header.seq: expected `int` <= 9223372036854775807"),
        ("seq", 10**400, "header.seq: expected `int` <= 9223372036854775807"),
        ("seq", None, "header.seq: expected `int`, got `null`"),
        ("capture_ns", -(2**63) - 1, "header.capture_ns: expected `int` >= -9223372036854775808"),
        ("seq", True, "header.seq: expected `int`, got `bool`"),
        ("state", "ok", "header.state: .*'ok', known are fused, thermal-only, visible-only, stale"),
        ("stamp.nsec", 10**9, "header.stamp.nsec: expected `int` <= 999999999"),
        ("stamp.sec", 2**62, "header.stamp.sec: expected `int` <= 9223372035"),
        ("stamp", 5, "header.stamp: expected `object`, got `int`"),
        ("clock.sync", "gps", "header.clock.sync: .*'gps', known are sensor, driver"),
        ("confidence", "high", "header.confidence: expected `float`, got `str`"),
        ("confidence", 10**19, "header.confidence: expected `float` < 9.2"),
        ("alignment.drift_px", [1, "2"], r"header.alignment.drift_px\[1\]: expected `float`, got `str`"),
        ("alignment.drift_px", [True, 2], r"header.alignment.drift_px\[0\]: expected `float`, got `bool`"),
        ("extra.tone", {"counts": [1e300], "values": [0.5]}, r"header.extra.tone.counts\[0\]: expected `float` < 9.2"),
        ("drops", {"late": "2"}, r"header.drops\[...\]: expected `int`, got `str`"),
        ("session", "x" * 4097, "header.session: expected `str` of length <= 4096"),
        ("inputs", [{}] * 9, "header.inputs"),
        ("inputs.0.seq", None, r"header.inputs\[0\]: seq and capture_ns are needed"),
        ("stream", "visible", "the topic says fused, the header visible"),
        ("extra.tone", {"counts": [1, 2], "values": [0.5]}, "2 counts and 1 values"),
        (
            "extra.tone",
            {"counts": [0] * 5000, "values": []},
            "header.extra.tone.counts: expected `array` of length <= 4096",
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(path, value, said):
    with pytest.raises(WireError, match=said):
        decode(mutated(setting(path, value)), boot_id=BOOT)


def test_unknown_keys_are_ignored():
    def future(header):
        header["v"] = 9
        header["colour_of_the_sky"] = "grey"
        header["images"][0]["radiance"] = 1

    same(example(), decode(mutated(future), boot_id=BOOT))


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        (b"sf/2/gate/fused", "layout sf/2; this reader knows sf/1"),
        (b"sf/1/gate", "sf/1/<rig>/<stream>"),
        (b"other", "sf/1/<rig>/<stream>"),
        (b"\xff\xfe", "not a UTF-8 topic"),
    ],
)
def test_another_layout_is_refused_by_name(topic, said):
    with pytest.raises(WireError, match=said):
        decode([topic, *encode(example(), ORIGIN)[1:]], boot_id=BOOT)


def test_a_jpeg_larger_than_announced_is_refused_before_it_is_decoded():
    topic, header, image = encode(replace(example(), pixels=np.zeros((16, 24, 3), np.uint8)), ORIGIN, codec="jpeg")
    bomb = bytearray(image)
    at = bomb.index(b"\xff\xc0")
    bomb[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(WireError, match=r"announces \(24, 16\), the JPEG inside is \(65535, 65535\)"):
        decode([topic, header, bytes(bomb)], boot_id=BOOT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pixels": np.zeros((2, 2, 4), np.uint8)}, "found shape"),
        ({"pixels": np.zeros((2, 2), np.float32)}, "float32"),
        ({"pixels": np.zeros(3, np.uint8)}, "found shape"),
        ({"pixels": np.zeros((0, 2), np.uint8)}, "each side"),
        ({"confidence": float("nan")}, "header.confidence: expected `float`, got `null`"),
        ({"confidence": np.float32("inf")}, "header.confidence: expected `float`, got `null`"),
        ({"alignment": Alignment(trusted=float("inf"))}, "header.alignment.trusted"),
        (
            {"alignment": Alignment(turn=Turn(frozen=True, drift=(0, float("nan"))))},
            r"header.alignment.turn.drift\[1\]",
        ),
        ({"sequence": 2**63}, "header.seq: expected `int` <= 9223372036854775807"),
        ({"recording_ns": -(2**70)}, "ns is no time"),
        ({"stamps": {"fused": 2**63}}, r"header.extra.stamps_ns\[...\]"),
        ({"drops": {"late": np.int64(2)}}, "cannot be written as JSON"),
        ({"name": "\ud800"}, "cannot be written as JSON"),
        ({"name": "long" * 2**18}, "at most 1048576 are allowed"),
        ({"drops": {"late": object()}}, "cannot be written as JSON"),
    ],
)
def test_what_does_not_fit_the_layout_is_not_written(change, said):
    with pytest.raises(WireError, match=said):
        encode(replace(example(), **change), ORIGIN)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [float("nan")]}, object(), b"bytes", {1, 2}])
def test_info_is_what_json_can_say(value):
    with pytest.raises(WireError, match=r"header.info cannot be written"):
        encode_record(Info(session="5e55", content={"value": value}), ORIGIN)


def test_info_keeps_null_and_numbers_beyond_64_bits():
    content = {"serial": None, "fraction": 1e-5, "large": 2**70, "nested": {"list": [1, "null"]}}
    assert decode(encode_record(Info(session="5e55", content=content), ORIGIN), boot_id=BOOT).content == content


def test_a_heartbeat_without_a_rate_is_not_written():
    with pytest.raises(WireError, match=r"header.fps"):
        encode_record(Heartbeat(session="5e55", sequence=7, fps=float("nan")), ORIGIN)


def test_a_number_of_another_library_is_written_as_what_it_is():
    frame = replace(example(), confidence=np.float32(0.75))
    assert [bytes(part) for part in encode(frame, ORIGIN)] == golden("sf1_fused_raw")


def test_a_skew_that_is_not_known_is_null_and_a_missing_camera_has_none():
    unknown = replace(example(), skew_ns=None)
    assert json.loads(encode(unknown, ORIGIN)[1])["inputs"][0]["skew_us"] is None
    assert decode(encode(unknown, ORIGIN), boot_id=BOOT).skew_ns is None
    missing = json.loads(encode(replace(unknown, thermal=None), ORIGIN)[1])["inputs"][0]
    assert missing == {"name": "thermal", "missing": True, "held": False}


def test_null_in_a_key_that_may_be_absent_means_absent():
    def emptied(header):
        header["drops"] = header["alignment"] = None
        header["extra"] = dict.fromkeys(("stamps_ns", "name", "tone", "radiometric"))
        header["inputs"][0]["skew_us"] = header["inputs"][0]["stamp"] = None

    received = decode(mutated(emptied), boot_id=BOOT)
    assert (received.drops, received.stamps, received.alignment) == ({}, {}, Alignment())
    assert (received.name, received.tone, received.radiometric, received.skew_ns) == ("", None, None, None)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 400, '"\\ud800"', '"\xff"', "[" * 10**5]
)
@pytest.mark.parametrize("key", ["confidence", "calibration", "seq", "not_known_yet"])
def test_what_json_or_64_bits_cannot_say_is_a_wire_error(key, text):
    topic, header, image = encode(example(), ORIGIN)
    value = text.encode("latin-1")
    spoilt = header.replace(b'"seq":', b'"' + key.encode() + b'":' + value + b',"seq":', 1)
    if key in ("confidence", "calibration"):  # the last of two keys counts: take the good one out
        spoilt = spoilt.replace(b'"confidence":0.75,', b"").replace(b'"calibration":"sha256:51f0",', b"")
    elif key == "seq":
        spoilt = header.replace(b'"seq":7', b'"seq":' + value, 1)
    elif text in ("1e999", "1" * 400):
        pytest.skip("well-formed, and skipped with its key")
    with pytest.raises(WireError, match="header"):
        decode([topic, spoilt, image], boot_id=BOOT)


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_arbitrary_bytes_are_refused_as_wire_errors(parts):
    with pytest.raises(WireError):
        decode(parts, boot_id=BOOT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths(values, prefix=()) -> list[tuple]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [path for key, value in items for path in [(*prefix, key), *paths(value, (*prefix, key))]]


PATHS = paths(json.loads(encode(example(), ORIGIN)[1]))


@given(st.sampled_from(PATHS), JSON)
def test_a_header_with_any_value_anywhere_raises_nothing_but_wire_error(path, value):
    def change(values):
        for step in path[:-1]:
            values = values[step]
        values[path[-1]] = value

    try:
        received = decode(mutated(change), boot_id=BOOT)
    except WireError:
        return
    assert isinstance(received, FusedFrame)
    assert received.pixels.nbytes == 72


@given(st.integers(0, 10**4), st.integers(0, 255), st.sampled_from([0, 1, 2]))
def test_a_flipped_byte_anywhere_raises_nothing_but_wire_error(at, value, part):
    parts = [bytearray(bytes(each)) for each in golden("sf1_fused_jpeg")]
    parts[part][at % len(parts[part])] = value
    try:
        received = decode(parts, boot_id=BOOT)
    except WireError:
        return
    assert received.pixels.shape == (16, 24, 3)


def test_deeply_nested_json_is_refused():
    with pytest.raises(WireError):
        decode([b"sf/1/gate/fused", b"[" * 100_000, b""], boot_id=BOOT)


@given(st.integers(-(2**50), 2**50))
def test_microseconds_keep_their_nanoseconds(ns):
    assert ns_from_us(json.loads(json.dumps(us_from_ns(ns)))) == ns


@given(st.text(st.characters(codec="ascii", exclude_characters="/"), min_size=1, max_size=9))
def test_topics_split_as_they_were_joined(rig):
    assert split_topic(f"sf/1/{rig}/thermal-raw".encode()) == (rig, "thermal-raw")

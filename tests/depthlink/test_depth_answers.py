"""What a run does with requests, without sockets and with a clock that the tests turn."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs import full_rig, planar_rig

from streamfuse import register
from streamfuse.depthlink.answers import Answers
from streamfuse.depthlink.wire import ASKS, KEPT_S, MAX_REPLY_BYTES, MAX_REQUEST_BYTES
from streamfuse.register import Registrar

S = 1_000_000_000
BOX = [150, 60, 40, 50]


@pytest.fixture
def registrar() -> Registrar:
    return Registrar(full_rig())


@pytest.fixture
def answers(registrar) -> Answers:
    return Answers(registrar)


def asked(answers: Answers, at_s: float = 0, **request: Any) -> dict[str, Any]:
    """The reply to a request that a stranger writes."""
    return json.loads(answers.answer([json.dumps(request).encode()], round(at_s * S)))


def region(answers: Answers, name: str, at_s: float = 0, **changes: Any) -> dict[str, Any]:
    return asked(answers, at_s, **{"ask": "region", "box": BOX, "depth_m": 4, "name": name, **changes})


def test_the_state_is_told_and_changes_nothing(answers, registrar):
    assert asked(answers, ask="state") == {
        "answer": "state",
        "depth_m": 12.0,
        "regions": [],
        "revision": 0,
        "confidence": 1.0,
        "pending": False,
        "size": [320, 180],
    }
    assert registrar.wait(20)
    assert registrar.warp.revision == 0


def test_a_depth_is_in_the_reply_at_once_and_in_the_map_when_it_is_made(answers, registrar):
    assert asked(answers, ask="depth", depth_m=4)["depth_m"] == 4.0
    assert registrar.wait(20)
    assert registrar.warp.depth_m == 4.0
    told = asked(answers, ask="state")
    assert (told["revision"], told["pending"]) == (1, False)
    assert told["confidence"] == registrar.confidence


def test_far_away_is_a_word_since_json_has_no_infinity(answers, registrar):
    assert asked(answers, ask="depth", depth_m="inf")["depth_m"] == "inf"
    assert registrar.depth_m == math.inf
    told = region(answers, "sky", depth_m="inf", seconds="inf")
    assert told["regions"] == [{"name": "sky", "box": BOX, "depth_m": "inf", "seconds": "inf"}]


def test_a_region_is_set_replaced_and_forgotten_by_its_name(answers, registrar):
    region(answers, "walker")
    region(answers, "car", box=[0, 0, 20, 20])
    told = region(answers, "walker", depth_m=3.5)["regions"]
    assert [(each["name"], each["depth_m"]) for each in told] == [("car", 4.0), ("walker", 3.5)]
    assert registrar.regions == {"car": ((0, 0, 20, 20), 4.0), "walker": (tuple(BOX), 3.5)}
    told = asked(answers, ask="forget", name="walker")["regions"]
    assert [each["name"] for each in told] == ["car"]
    assert asked(answers, ask="forget", name="nobody")["regions"] == told


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_region_that_nobody_renews_is_forgotten(answers, registrar):
    assert region(answers, "a", 10)["regions"][0]["seconds"] == KEPT_S
    assert asked(answers, 10 + KEPT_S - 1, ask="state")["regions"][0]["seconds"] == 1
    answers.expire(round((10 + KEPT_S) * S) - 1)
    assert "a" in registrar.regions
    answers.expire(round((10 + KEPT_S) * S))
    assert registrar.regions == {}
    assert registrar.wait(20)


def test_a_region_that_is_renewed_stays_and_its_seconds_count_anew(answers, registrar):
    region(answers, "a", 0, seconds=2)
    region(answers, "a", 1.5, seconds=2)
    answers.expire(3 * S)
    assert "a" in registrar.regions
    answers.expire(round(3.5 * S))
    assert registrar.regions == {}


def test_a_region_for_ever_stays_until_it_is_forgotten(answers, registrar):
    region(answers, "a", 0, seconds=1)
    region(answers, "a", 0, seconds="inf")
    answers.expire(10**6 * S)
    assert "a" in registrar.regions
    region(answers, "a", 0, seconds=1)
    asked(answers, ask="forget", name="a")
    assert answers.patience_ms(0) is None


def test_a_region_of_the_program_itself_is_told_and_never_expires(answers, registrar):
    registrar.set_depth(4.0, (10, 10, 20, 20), name="own")
    assert asked(answers, 10**6, ask="state")["regions"][0]["seconds"] == "inf"


def test_the_patience_ends_with_the_first_region_and_not_before(answers):
    assert answers.patience_ms(0) is None
    region(answers, "a", 0, seconds=3)
    region(answers, "b", 0, seconds=2.0004)
    assert answers.patience_ms(0) == 2001
    assert answers.patience_ms(2 * S) == 1
    assert answers.patience_ms(5 * S) == 0


# -- what is wrong -----------------------------------------------------------------------------------------------------

R = {"ask": "region", "box": BOX, "depth_m": 4}
WRONG: list[tuple[Any, str]] = [
    ({"ask": "depth", "depth_m": 0}, "must be greater than 0"),
    ({"ask": "depth", "depth_m": -2.5}, "depth -2.5 m: must be greater than 0"),
    ({"ask": "depth", "depth_m": None}, "request.depth_m: expected `float | str`, got `null`"),
    ({"ask": "depth", "depth_m": "far"}, "request.depth_m: invalid enum value 'far'"),
    ({"ask": "depth"}, "missing required field `depth_m`"),
    ({"ask": "depth", "depth_m": 4, "regoin": BOX}, "unknown field `regoin`"),
    ({"ask": "deph", "depth_m": 4}, "'deph'; `ask` is one of depth, region, forget, state"),
    ({"depth_m": 4}, "missing required field `ask`; `ask` is one of depth"),
    ({**R, "box": [0, 0, 10]}, "request.box: expected `array` of length 4"),
    ({**R, "box": [0, 0, 0, 5]}, "of some area and on the 320x180 output"),
    ({**R, "box": [400, 0, 10, 10]}, "of some area and on the 320x180 output"),
    ({**R, "seconds": 0}, "request.seconds: expected `float` > 0"),
    ({**R, "seconds": 1e300}, "request.seconds: expected `float` <= 86400"),
    ({**R, "name": "x" * 65}, "request.name: expected `str` of length <= 64"),
    ([], "expected `object`, got `array`"),
    (b"", "not UTF-8 JSON"),
    (b"\xff{}", "not UTF-8 JSON"),
    (b'{"ask": "depth", "depth_m": NaN}', "not UTF-8 JSON"),
    (b'{"ask": "depth", "depth_m": 1e999}', "out of range"),
    (b"[" * 4000, "expected `object`, got `array`"),
    (b" " * (MAX_REQUEST_BYTES + 1), f"has {MAX_REQUEST_BYTES + 1} bytes; at most {MAX_REQUEST_BYTES}"),
]


@pytest.mark.parametrize(("request_", "said"), WRONG, ids=[str(each[0])[:40] for each in WRONG])
def test_a_wrong_request_is_answered_with_what_is_wrong_and_changes_nothing(answers, registrar, request_, said):
    data = request_ if isinstance(request_, bytes) else json.dumps(request_).encode()
    told = json.loads(answers.answer([data], 0))
    assert told["answer"] == "refused"
    assert said in told["error"]
    assert (registrar.depth_m, registrar.regions, registrar.warp.revision) == (12.0, {}, 0)
    assert answers.patience_ms(0) is None


@pytest.mark.parametrize("parts", [[], [b"{}", b"{}"]])
def test_a_request_is_one_part(answers, parts):
    assert f"this one has {len(parts)}" in json.loads(answers.answer(parts, 0))["error"]


def test_a_wrong_renewal_leaves_the_region_and_its_time_as_they_were(answers, registrar):
    region(answers, "a", 0, seconds=2)
    assert region(answers, "a", 1, seconds=2, depth_m=-1)["answer"] == "refused"
    assert registrar.regions["a"] == (tuple(BOX), 4.0)
    answers.expire(2 * S)
    assert registrar.regions == {}


def test_a_17th_region_is_refused_until_another_one_is_forgotten(answers):
    for number in range(register.MOST_REGIONS):
        assert region(answers, str(number), 0, seconds=1 + number)["answer"] == "state"
    assert "at most 16 regions" in region(answers, "one more", 0)["error"]
    assert region(answers, "one more", 1)["answer"] == "state"


def test_a_planar_rig_has_no_depth_to_ask_for_and_says_so():
    answers = Answers(Registrar(planar_rig(((2, 0, 0), (0, 2, 0)))))
    assert asked(answers, ask="state")["depth_m"] is None
    for request in ({"ask": "depth", "depth_m": 5}, R):
        assert "flat, which is planar" in asked(answers, **request)["error"]


def test_a_depth_at_which_the_images_do_not_meet_is_told_by_its_confidence(answers, registrar):
    asked(answers, ask="depth", depth_m=0.002)
    assert registrar.wait(20)
    assert asked(answers, ask="state")["confidence"] == 0


def test_a_fault_of_the_run_itself_is_logged_and_answered(answers, registrar, monkeypatch, caplog):
    monkeypatch.setattr(registrar, "set_depth", lambda *_: 1 / 0)
    assert "the log of the run says why" in asked(answers, ask="depth", depth_m=4)["error"]
    assert "ZeroDivisionError" in caplog.text
    assert asked(answers, ask="state")["answer"] == "state"


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "ask": st.sampled_from([*ASKS, "x"]),
        "depth_m": st.floats() | st.just("inf") | st.none(),
        "box": st.lists(st.floats() | st.integers(), min_size=3, max_size=5),
        "name": st.text(max_size=70),
        "seconds": st.floats() | st.just("inf"),
    },
)


@given(st.lists(st.binary(max_size=80), max_size=3) | FIELDS.map(lambda fields: [json.dumps(fields).encode()]))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # maps of depths like 1e-320
def test_whatever_comes_gets_a_small_json_reply(parts):
    answers = Answers(SHARED)
    reply = answers.answer(parts, 0)
    assert len(reply) < MAX_REPLY_BYTES
    assert json.loads(reply)["answer"] in ("state", "refused")
    answers.expire(10**6 * S)


SHARED = Registrar(full_rig())

"""What a process says of itself, and what it spent between two moments."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from streamfuse.bench.sampler import Sample, Sampler, rss_bytes, spent, threads_ns

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def sample(second, cpu, threads, graph=0):
    return Sample(second * 10**9, cpu, 1000, threads, graph)


def test_what_was_spent_is_the_difference_by_name_within_the_time():
    samples = [
        sample(0, 0, {"MainThread/1": 0}),
        sample(1, 100, {"MainThread/1": 60, "capture-rgb/2": 10, "bench-sampler/3": 5, "native tbb/4": 25}, 40),
        sample(2, 300, {"MainThread/1": 150, "capture-rgb/2": 30, "bench-sampler/3": 6, "native tbb/4": 114}, 90),
        sample(3, 320, {"MainThread/1": 170, "bench-sampler/3": 6, "capture-thermal/5": 7}, 95),  # some have ended
        sample(9, 999, {"MainThread/1": 900}),
    ]
    cost = spent(samples, 10**9, 3 * 10**9)
    assert (cost.span_ns, cost.process, cost.graph) == (2 * 10**9, 220, 55)
    assert cost.threads["MainThread"] == 110
    assert (cost.capture, cost.measuring, cost.workers) == (20 + 7, 1, 89)


def test_threads_of_one_name_are_added():
    samples = [
        sample(0, 0, {"native tbb/1": 0, "native tbb/2": 5}),
        sample(1, 9, {"native tbb/1": 4, "native tbb/2": 9}),
    ]
    assert spent(samples, 0, 10**9).threads == {"native tbb": 8}


def test_one_sample_says_nothing():
    assert spent([sample(0, 0, {})], 0, 10**9) is None


@linux
def test_a_thread_at_work_is_seen_by_its_name():
    over = threading.Event()

    def work():
        while not over.is_set():
            sum(range(1000))

    thread = threading.Thread(target=work, name="at-work")
    thread.start()
    try:
        time.sleep(0.2)
        found = threads_ns()
    finally:
        over.set()
        thread.join()
    (name,) = (name for name in found if name.startswith("at-work/"))
    assert name == f"at-work/{thread.native_id}"
    assert 0 < found[name] < 5 * 10**9
    assert any(name.startswith("MainThread/") for name in found)


@linux
def test_the_sampler_sees_memory_and_ends():
    with Sampler() as sampler:
        time.sleep(0.6)
    assert sampler.samples
    assert sampler.samples[0].rss_bytes == pytest.approx(rss_bytes(), rel=0.5)
    assert not [thread for thread in threading.enumerate() if thread.name == "bench-sampler"]

# SPDX-License-Identifier: Apache-2.0
"""The coder among threads and processes: the GIL, the pool, fork; and the memory that it takes."""

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import glc
from glc import cdf, rans

ROOT = Path(rans.__file__).parents[1]
N = 2_000_000


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = glc.get_num_threads()
    yield
    glc.set_num_threads(before)


@pytest.fixture(scope="module")
def message() -> tuple[np.ndarray, np.ndarray, rans.TableSet]:
    rng = np.random.default_rng(1)
    tables, _ = cdf.canonical()
    return rng.integers(-3, 4, N).astype(np.int32), rng.integers(20, 60, N).astype(np.uint8), tables


def calls(message: tuple[np.ndarray, np.ndarray, rans.TableSet]) -> dict[str, Callable[[], object]]:
    """Every call that does real work in native code."""
    symbols, rows, tables = message
    stream = rans.encode(symbols, rows, tables)
    out = np.empty(N, np.int32)
    data = symbols.tobytes()
    coded = rans.encode_bytes(data)
    return {
        "push": lambda: rans.Encoder().push(symbols, rows, tables),
        "pull": lambda: rans.Decoder(stream).pull(rows, tables, out),
        "cost": lambda: tables.cost_bits(symbols, rows),
        "encode_bytes": lambda: rans.encode_bytes(data),
        "decode_bytes": lambda: rans.decode_bytes(coded),
    }


def full_encoder(message: tuple[np.ndarray, np.ndarray, rans.TableSet]) -> rans.Encoder:
    """To be finished, once."""
    encoder = rans.Encoder()
    encoder.push(*message)
    return encoder


@pytest.mark.parametrize("name", ["push", "finish", "pull", "cost", "encode_bytes", "decode_bytes"])
def test_the_gil_is_released(name: str, message: tuple) -> None:
    """Another thread counts on while native code runs, though nobody is made to give way."""
    glc.set_num_threads(1)
    made = calls(message)
    counted: list[int] = []
    count = 0

    def work() -> None:
        for _ in range(50):  # on a busy machine the counter may have no turn in one
            call = full_encoder(message).finish if name == "finish" else made[name]
            before = count
            call()
            counted.append(count - before)
            if counted[-1]:
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)  # seconds: the GIL changes hands only where it is let go
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            count += 1
            time.sleep(0)
    finally:
        sys.setswitchinterval(interval)
    assert counted[-1] > 0


def test_any_number_of_threads_gives_the_same_bytes(message: tuple) -> None:
    symbols, rows, tables = message
    streams, files = set(), set()
    for n in (1, 2, 3, 7):
        glc.set_num_threads(n)
        streams.add(rans.encode(symbols, rows, tables, 32, 4096))
        files.add(rans.encode_bytes(symbols.tobytes()))
        np.testing.assert_array_equal(rans.decode(next(iter(streams)), rows, tables), symbols)
        assert rans.decode_bytes(next(iter(files))) == symbols.tobytes()
    assert len(streams) == len(files) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("busy", [False, True])
def test_the_pool_survives_fork(busy: bool, message: tuple) -> None:
    """A child of a process whose pool has run, even of one whose pool runs at that moment."""
    symbols, rows, tables = message
    glc.set_num_threads(3)
    stream = rans.encode(symbols, rows, tables)
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            rans.decode(stream, rows, tables)

    thread = threading.Thread(target=keep_busy)
    if busy:
        thread.start()
    try:
        for _ in range(5):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads
                child = os.fork()
            if child == 0:
                status = 1
                try:
                    good = rans.encode(symbols, rows, tables) == stream
                    good &= bool(np.array_equal(rans.decode(stream, rows, tables), symbols))
                    status = 0 if good else 2
                finally:
                    os._exit(status)
            assert wait_for(child) == 0
    finally:
        stop.set()
        if busy:
            thread.join()
    assert rans.encode(symbols, rows, tables) == stream  # the parent goes on as before


def wait_for(child: int) -> int:
    """Exit status of a child; one that hangs is ended, and fails."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1


OPENMP = """
import os, threading, sys
import numpy as np
import torch
import glc
import glc.ops  # joins torch's threads
from glc import _core, cdf, rans

if not _core.join_openmp():
    sys.exit(77)
torch.set_num_threads(3)
x = torch.randn(512, 512)
tables, _ = cdf.canonical()
rng = np.random.default_rng(1)
symbols = rng.integers(-3, 4, 300_000).astype(np.int32)
glc.set_num_threads(1)
stream = rans.encode(symbols, 40, tables, 32, 4096)

def work():
    for _ in range(10):
        x @ x  # torch's own work on the same threads, in between
        assert rans.encode(symbols, 40, tables, 32, 4096) == stream
        assert np.array_equal(rans.decode(stream, 40, tables, count=symbols.size), symbols)

glc.set_num_threads(3)
work()
callers = [threading.Thread(target=work) for _ in range(3)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
child = os.fork()
if child == 0:  # has none of those threads
    os._exit(rans.encode(symbols, 40, tables, 32, 4096) != stream)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_threads_may_be_those_of_torch() -> None:
    done = subprocess.run([sys.executable, "-c", OPENMP], cwd=ROOT, timeout=300, check=False)
    if done.returncode == 77:
        pytest.skip("this torch shows no OpenMP runtime")
    assert done.returncode == 0


MEASURE = """
import json, sys
import numpy as np
import glc
from glc import cdf, rans

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))

def grown(call):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the high-water mark falls to what is resident
    before = peak()
    result = call()
    return peak() - before, result

glc.set_num_threads(2)
n = int(sys.argv[1])
rng = np.random.default_rng(1)
tables, _ = cdf.canonical()
symbols = rng.integers(-3, 4, n).astype(np.int32)
rows = np.full(n, 60, np.uint8)
data = rng.integers(0, 40, 4 * n).astype(np.uint8)
rans.decode(rans.encode(symbols[:9999], 40, tables), 40, tables, count=9999)  # loads everything
rans.decode_bytes(rans.encode_bytes(data[:999_999]))
wild = np.where(rng.random(n) < 0.1, 10_000, symbols).astype(np.int32)
price, _ = grown(lambda: tables.cost_bits(wild, rows))
encode_wild, escaped = grown(lambda: rans.encode(wild, rows, tables))
encode, stream = grown(lambda: rans.encode(symbols, rows, tables))
out = np.zeros(n, np.int32)
out += 1
decode, _ = grown(lambda: rans.decode(stream, rows, tables, out))
encode_bytes, coded = grown(lambda: rans.encode_bytes(data))
decode_bytes, _ = grown(lambda: rans.decode_bytes(coded))
print(json.dumps(dict(encode=encode, decode=decode, encode_bytes=encode_bytes,
    decode_bytes=decode_bytes, stream=len(stream), coded=len(coded), data=data.nbytes,
    price=price, encode_wild=encode_wild, escaped=len(escaped),
    escapes=int((wild == 10_000).sum()))))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_memory_is_the_output_and_little_else() -> None:
    """Peaks of resident memory beyond the caller's own arrays."""
    n = 8_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(n)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"},  # what is freed is gone at once
    )
    used = json.loads(done.stdout)
    slack = 8 << 20  # tables, thread stacks, an allocator's rounding
    assert used["price"] < slack
    assert used["encode"] < 4 * n + 2 * used["stream"] + slack  # a push keeps 4 bytes a symbol
    assert used["encode_wild"] < 4 * n + 2 * used["escaped"] + 48 * used["escapes"] + slack
    assert used["decode"] < slack
    assert used["encode_bytes"] < 2 * used["coded"] + slack
    assert used["decode_bytes"] < used["data"] + slack

# SPDX-License-Identifier: Apache-2.0
# Typed stubs of the native module. One section per binding file, in the order of module.cpp.

from typing_extensions import Buffer

# ---- module.cpp
__version__: str

def build_info() -> dict[str, object]: ...

# ---- bind_bitstream.cpp
def crc32c(data: Buffer) -> int: ...
def pack_container(
    width: int,
    height: int,
    level: int,
    coder: int,
    version: int,
    profile: int,
    model_id: Buffer,
    payload: Buffer,
    fingerprint: Buffer,
) -> bytes: ...
def parse_container(
    data: Buffer, max_pixels: int
) -> tuple[int, int, int, int, int, int, bytes, int]: ...
def check_container(data: Buffer, fingerprint: Buffer) -> None: ...
def container_accounting(data: Buffer) -> dict[str, int]: ...

# SPDX-License-Identifier: Apache-2.0
# Typed stubs of the native module. One section per binding file, in the order of module.cpp.

# ---- module.cpp
__version__: str

def build_info() -> dict[str, object]: ...

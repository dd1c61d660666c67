# SPDX-License-Identifier: Apache-2.0
"""A model's networks as coding runs them on the CPU: by the native core, no torch.

Every sum is made by an exact layer (`csrc/include/glc/exact.h`), in one order. So all that these
networks give is the same bits on every CPU, at every number of threads: symbols, as the format
promises, and with models that draw by them files and pictures too.
"""

from glc.portable.map_range import MapRange
from glc.portable.networks import EntropyCore, PortableNetworks
from glc.portable.weights import Weights

__all__ = ["EntropyCore", "MapRange", "PortableNetworks", "Weights"]

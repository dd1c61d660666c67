# SPDX-License-Identifier: Apache-2.0
"""What is taken when the caller does not choose; the library and the command line agree on it."""

__all__ = ["DEFAULT_MODEL", "DEFAULT_QUALITY", "MAX_PIXELS", "MAX_REFINE", "PATCH_SIDE"]

DEFAULT_MODEL = "glc-image-small"
DEFAULT_QUALITY = 2.0  # on the scale 0 (smallest file) to 3
MAX_PIXELS = 178_956_970  # width * height: 512 MiB of RGB pixels, where Pillow gives up too
MAX_REFINE = 10_000  # steps of a refined latent
PATCH_SIDE = 256  # for FID and KID, as GLC's authors cut CLIC and DIV2K; Kodak at 64 (facts H)

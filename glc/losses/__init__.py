# SPDX-License-Identifier: Apache-2.0
"""Training losses of the three stages."""

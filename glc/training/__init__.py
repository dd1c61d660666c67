# SPDX-License-Identifier: Apache-2.0
"""Training in three stages; each stage is one file that reads from top to bottom."""

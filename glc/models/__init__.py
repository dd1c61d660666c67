# SPDX-License-Identifier: Apache-2.0
"""The GLC model family: configurations, networks, and loaders."""

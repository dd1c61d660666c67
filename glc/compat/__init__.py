# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the coders of other projects. Each module has no effect until it is asked."""

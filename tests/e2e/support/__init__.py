# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests stand on: the gateway's process, a fake upstream, a raw HTTP client."""

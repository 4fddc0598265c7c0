# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA Triton says: answers of its generate endpoints."""


def generated(text, **more):
    return {"model_name": "up-model", "model_version": "1", "text_output": text, **more}

# SPDX-License-Identifier: Apache-2.0
"""What TGI's own API says: events of its streams."""

import json


def token(text, special=False, whole=None, details=None):
    value = {
        "index": 1,
        "token": {"id": 5, "text": text, "logprob": -0.1, "special": special},
        "generated_text": whole,
        "details": details,
    }
    return b"data:" + json.dumps(value).encode() + b"\n\n"


def end(text, reason="eos_token"):
    details = {"finish_reason": reason, "generated_tokens": 3, "input_length": 7, "seed": None}
    return token("</s>", True, text, details)

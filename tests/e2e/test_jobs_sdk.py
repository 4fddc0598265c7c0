# SPDX-License-Identifier: Apache-2.0
# ctest-timeout: 300
"""Files and batches with the official SDK, from the upload to the results: a model in the process, and ten
thousand lines against an upstream, of which none is lost and with which memory does not grow."""

import json

import pytest
from openai import OpenAI

from support import jobs_sdk
from support.gateway import Gateway
from support.local import SKY, SKY_ANSWER, local, needs_llama, user


@pytest.fixture(scope="module")
def inside():
    with Gateway(local()) as gateway:
        yield gateway


def batch_on(gateway, bodies, endpoint):
    """The batch and its results by custom_id."""
    rows = [
        json.dumps({"custom_id": f"r-{i}", "method": "POST", "url": endpoint, "body": body}) + "\n"
        for i, body in enumerate(bodies)
    ]
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        batch, found = jobs_sdk.whole_way(client, "".join(rows).encode(), endpoint)
        assert batch.output_file_id in [file.id for file in client.files.list(purpose="batch_output")]
        assert client.files.delete(batch.output_file_id).deleted
    return batch, found


@needs_llama
def test_chat_on_the_model_inside(inside):
    body = {"model": "tiny", "messages": user(SKY), "temperature": 0}
    batch, found = batch_on(inside, [body] * 12, "/v1/chat/completions")
    assert set(found) == {f"r-{i}" for i in range(12)}
    for row in found.values():
        answer = row["response"]["body"]
        assert row["response"]["status_code"] == 200 and row["error"] is None, row
        assert answer["choices"][0]["message"]["content"] == SKY_ANSWER
        assert answer["model"] == "tiny" and answer["object"] == "chat.completion"
    used = [row["response"]["body"]["usage"]["total_tokens"] for row in found.values()]
    assert batch.usage.total_tokens == sum(used) > 0
    assert batch.model == "tiny"


@needs_llama
def test_completions_on_the_model_inside(inside):
    body = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 4, "temperature": 0}
    live = inside.post("/v1/completions", body).json()["choices"][0]["text"]
    _, found = batch_on(inside, [body] * 3, "/v1/completions")
    assert [row["response"]["body"]["choices"][0]["text"] for row in found.values()] == [live] * 3


@needs_llama
def test_a_line_that_the_model_inside_refuses(inside):
    body = {"model": "tiny", "messages": user(SKY), "temperature": 0}
    batch, found = batch_on(inside, [body, {**body, "temperature": "hot"}], "/v1/chat/completions")
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
    assert found["r-0"]["response"]["status_code"] == 200
    assert found["r-1"]["response"]["status_code"] == 400


def test_ten_thousand_lines():
    print(jobs_sdk.many_lines(10_000))

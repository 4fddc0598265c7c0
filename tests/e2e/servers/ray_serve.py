# SPDX-License-Identifier: Apache-2.0
"""Deployments on Ray Serve, without a model: what comes out is made of the prompt. Argument: the port.

/say takes {"prompt"} and gives {"text"}; /stream gives the prompt word by word, framed as asked for; /v1 is a
small server of OpenAI's shape. "hold" in a request is a file: the first piece goes out, the others when it is
there; a generator that was left writes "left" into it."""

import asyncio
import json
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when it is imported

import ray  # noqa: E402
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Say:
    async def __call__(self, request: Request):
        order = await request.json()
        if "raise" in order["prompt"]:
            raise RuntimeError("the deployment fell over")
        if "refuse" in order["prompt"]:
            return JSONResponse({"error": {"message": "not that", "type": "invalid_request_error"}}, 400)
        words = order["prompt"].split()[: order.get("limit")]
        return {"result": [{"text": " ".join(words)}], "reason": order.get("marker", "stop")}


async def pieces(words, hold):
    left = hold is not None
    try:
        for number, word in enumerate(words):
            yield word + " ", number + 1 == len(words)
            while hold is not None and not os.path.exists(hold):
                await asyncio.sleep(0.02)
        left = False
    finally:
        if left:
            with open(hold, "w") as file:
                file.write("left")


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Stream:
    async def __call__(self, request: Request):
        order = await request.json()
        framing = order["framing"]
        said = pieces(order["prompt"].split(), order.get("hold"))

        async def framed():
            async for text, is_last in said:
                event = json.dumps({"text": text, "reason": "stop" if is_last else None})
                yield text if framing == "raw" else f"{event}\n" if framing == "ndjson" else f"data: {event}\n\n"

        kinds = {"raw": "text/plain", "ndjson": "application/x-ndjson", "sse": "text/event-stream"}
        return StreamingResponse(framed(), media_type=kinds[framing])


@serve.deployment(ray_actor_options={"num_cpus": 0})
class OpenAi:
    async def __call__(self, request: Request):
        if request.url.path == "/v1/models":
            return {"object": "list", "data": [{"id": "echo", "object": "model", "created": 0, "owned_by": "us"}]}
        order = await request.json()
        words = order["messages"][-1]["content"].split()
        base = {"id": "chatcmpl-ray", "created": 1790000000, "model": order["model"]}
        usage = {"prompt_tokens": len(words), "completion_tokens": len(words), "total_tokens": 2 * len(words)}
        if not order.get("stream"):
            message = {"role": "assistant", "content": " ".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return {**base, "object": "chat.completion", "choices": [choice], "usage": usage}

        def chunks():
            for word in words:
                yield {"choices": [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}]}
            yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
            if (order.get("stream_options") or {}).get("include_usage"):
                yield {"choices": [], "usage": usage}

        def framed():
            for chunk in chunks():
                yield f"data: {json.dumps({**base, 'object': 'chat.completion.chunk', **chunk})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(framed(), media_type="text/event-stream")


def main():
    small = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    ray.init(**small, log_to_driver=False, _temp_dir=os.path.join(os.getcwd(), "ray"))
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    for name, deployment in {"say": Say, "stream": Stream, "v1": OpenAi}.items():
        serve.run(deployment.bind(), name=name, route_prefix=f"/{name}")
    print("ready", flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()

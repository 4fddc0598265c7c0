# SPDX-License-Identifier: Apache-2.0
"""NVIDIA Triton by its Python wrapper, with models that are functions. Arguments: ports for HTTP, gRPC and
metrics.

`say` repeats text_input as text_output; `words` does so word by word (a decoupled model); `embed` gives a
vector for each text; `broken` raises."""

import sys

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

TEXT_IN = [Tensor(name="text_input", dtype=np.bytes_, shape=(1,))]
TEXT_OUT = [Tensor(name="text_output", dtype=np.bytes_, shape=(1,))]


@batch
def say(text_input):
    return {"text_output": text_input}


def words(requests):
    """One request: what is streamed cannot be batched."""
    (request,) = requests
    for word in request["text_input"].item().split():
        yield [{"text_output": np.array([word + b" "], dtype=np.bytes_)}]


@batch
def embed(text_input):
    rows = [[float(len(text)), text[0] / 2, -1.5] for text in text_input[:, 0]]
    return {"embedding": np.array(rows, dtype=np.float32)}


@batch
def broken(text_input):
    raise ValueError("the model fell over")


def main():
    http, grpc, metrics = map(int, sys.argv[1:])
    config = TritonConfig(http_address="127.0.0.1", http_port=http, grpc_address="127.0.0.1", grpc_port=grpc,
                          metrics_port=metrics, allow_metrics=False)  # fmt: skip
    with Triton(config=config) as triton:
        batched = ModelConfig(max_batch_size=8)
        triton.bind("say", say, TEXT_IN, TEXT_OUT, config=batched)
        triton.bind("broken", broken, TEXT_IN, TEXT_OUT, config=batched)
        triton.bind("words", words, TEXT_IN, TEXT_OUT, config=ModelConfig(batching=False, decoupled=True))
        vector = Tensor(name="embedding", dtype=np.float32, shape=(3,))
        triton.bind("embed", embed, TEXT_IN, [vector], config=batched)
        triton.run()
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()

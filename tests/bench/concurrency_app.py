# SPDX-License-Identifier: Apache-2.0
"""The execution models of a Python web service, one path each, beside a health check.

The environment says how much work a call is, and where the upstream is."""

import asyncio
import concurrent.futures
import contextlib
import multiprocessing
import os

import concurrency_work as work
import fastapi
import httpx

PYTHON_ROUNDS = int(os.environ["BENCH_PYTHON_ROUNDS"])
C_ROUNDS = int(os.environ["BENCH_C_ROUNDS"])
UPSTREAM = os.environ["BENCH_UPSTREAM"]
PROCESSES = int(os.environ["BENCH_PROCESSES"])
PATIENCE = 60.0

state = {}


@contextlib.asynccontextmanager
async def lifespan(_):
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=PATIENCE) as state["client"]:
        if PROCESSES == 0:
            yield
            return
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(PROCESSES, mp_context=spawn) as state["pool"]:
            # Processes start with the first call; that call is not to be a client's.
            state["pool"].submit(work.in_python, 1).result()
            yield


app = fastapi.FastAPI(lifespan=lifespan)


@app.get("/health")
async def health():
    return {"status": "ok"}


@app.post("/async-def-computes")
async def async_def_computes():
    return {"value": work.in_python(PYTHON_ROUNDS)}


@app.post("/def-computes")
def def_computes():
    return {"value": work.in_python(PYTHON_ROUNDS)}


@app.post("/def-computes-in-c")
def def_computes_in_c():
    return {"value": work.in_c(C_ROUNDS)}


@app.post("/async-def-waits")
async def async_def_waits():
    body = {"model": "answer-1024-wait-50", "messages": [{"role": "user", "content": "Hello"}]}
    answer = await state["client"].post(UPSTREAM, json=body)
    return answer.json()


@app.post("/async-def-process")
async def async_def_process():
    loop = asyncio.get_running_loop()
    return {"value": await loop.run_in_executor(state["pool"], work.in_python, PYTHON_ROUNDS)}

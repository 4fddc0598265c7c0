# SPDX-License-Identifier: Apache-2.0
"""One thing said in the words of every kind of provider: what a model is to say (Said), and for each kind of
provider a function that makes a handler for the fake of it, whole or as a stream."""

import dataclasses
import json

from . import anthropic_fake as claude
from . import cohere_fake as cohere
from . import fake as up
from . import gemini_fake as gemini
from . import ollama_fake as ollama
from . import tgi_fake as tgi
from . import triton_fake as triton

URL = "http://there.example/"
ARGUMENTS = {"city": "Köln"}
ARGUED = json.dumps(ARGUMENTS, ensure_ascii=False)
PICTURE = "iVBORw0KGgo="


@dataclasses.dataclass(frozen=True)
class Said:
    text: str | None = "Hello"
    thought: str | None = None
    calls: int = 0
    finish: str = "stop"  # OpenAI's words
    refusal: str | None = None
    cited: bool = False
    logprobs: bool = False
    choices: int = 1
    picture: bool = False

    @property
    def halves(self):
        """The text in two pieces, or what there is of it."""
        middle = (len(self.text or "") + 1) // 2
        return [piece for piece in ((self.text or "")[:middle], (self.text or "")[middle:]) if piece]


# OpenAI's own family


def call(index, arguments=ARGUED):
    return {"id": f"call_{index}", "type": "function", "function": {"name": "weather", "arguments": arguments}}


def tokens(*texts):
    def one(text):
        return {"token": text, "logprob": -0.25, "bytes": list(text.encode())}

    content = [{**one(text), "top_logprobs": [one(text), {**one("x"), "bytes": None}]} for text in texts]
    return {"content": content, "refusal": None}


CITED = {"type": "url_citation", "url_citation": {"url": URL, "title": "T", "start_index": 0, "end_index": 5}}
SHOWN = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}


def openai_message(said):
    message = {"role": "assistant", "content": said.text, "refusal": said.refusal}
    if said.thought:
        message["reasoning_content"] = said.thought
    if said.calls:
        message["tool_calls"] = [call(index) for index in range(said.calls)]
    if said.cited:
        message["annotations"] = [CITED]
    if said.picture:
        message["images"] = [SHOWN]
    return message


def openai_whole(said):
    choices = [
        {
            "index": index,
            "message": openai_message(said),
            "logprobs": tokens(*said.halves) if said.logprobs else None,
            "finish_reason": said.finish,
        }
        for index in range(said.choices)
    ]
    return up.whole(up.chat_answer(choices=choices, system_fingerprint="fp_1", service_tier="default"))


def openai_pieces(said, index):
    yield {"role": "assistant", "content": ""}
    if said.thought:
        yield {"reasoning_content": said.thought}
    for piece in said.halves:
        yield {"content": piece}
    if said.refusal:
        yield {"refusal": said.refusal}
    for at in range(said.calls):
        yield {"tool_calls": [{"index": at, **call(at, "")}]}
        yield {"tool_calls": [{"index": at, "function": {"arguments": ARGUED[:4]}}]}
        yield {"tool_calls": [{"index": at, "function": {"arguments": ARGUED[4:]}}]}
    if said.cited:
        yield {"annotations": [CITED]}
    if said.picture:
        yield {"images": [SHOWN]}


def openai_stream(said):
    def chunk(delta, index, finish=None):
        logprobs = tokens(delta["content"]) if said.logprobs and delta.get("content") else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {"choices": [choice], **({"usage": None} if usage else {})}

    def handler(exchange):
        nonlocal usage
        usage = bool((exchange.request.json().get("stream_options") or {}).get("include_usage"))
        chunks = [chunk(delta, at) for at in range(said.choices) for delta in openai_pieces(said, at)]
        chunks += [chunk({}, at, said.finish) for at in range(said.choices)]
        chunks += [{"choices": [], "usage": up.USAGE}] if usage else []
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "up-model"}
        up.script(*(up.event({**head, **one}) for one in chunks), up.DONE, "finish")(exchange)

    usage = False
    return handler


def openai(said, stream):
    return openai_stream(said) if stream else openai_whole(said)


# Anthropic


def anthropic(said, stream):
    reason = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
    reason = reason[said.finish]
    details = {"type": "refusal", "category": None, "explanation": said.refusal} if said.refusal else None
    source = {
        "type": "web_search_result_location",
        "url": URL,
        "title": "T",
        "cited_text": "Hello",
        "encrypted_index": "eA==",
    }
    if not stream:
        blocks = []
        if said.thought:
            blocks.append({"type": "thinking", "thinking": said.thought, "signature": "c2lnbmVk"})
        if said.text:
            blocks.append({"type": "text", "text": said.text, **({"citations": [source]} if said.cited else {})})
        blocks += [claude.tool_use(ARGUMENTS, f"toolu_{index}") for index in range(said.calls)]
        return up.whole(claude.message(*blocks, stop=reason, stop_details=details))
    pieces = [claude.thinking(0, said.thought)] if said.thought else []
    if said.text:
        deltas = [{"type": "text_delta", "text": piece} for piece in said.halves]
        deltas += [{"type": "citations_delta", "citation": source}] if said.cited else []
        pieces.append(claude.block(len(pieces), "text", *deltas, text=""))
    for index in range(said.calls):
        pieces.append(claude.tool(len(pieces), ARGUED[:4], ARGUED[4:], block_id=f"toolu_{index}"))
    delta = {"stop_reason": reason, "stop_sequence": None, "stop_details": details}
    end = claude.event("message_delta", delta=delta, usage={"output_tokens": 2}) + claude.STOP
    return up.script(claude.start(), claude.PING, *pieces, end, "finish")


# Google


def google(said, stream):
    finish = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}[said.finish]
    parts = [{"text": said.thought, "thought": True}] if said.thought else []
    parts += [{"text": piece} for piece in said.halves]
    parts += [
        {"functionCall": {"id": f"c{index}", "name": "weather", "args": ARGUMENTS}, "thoughtSignature": "c2ln"}
        for index in range(said.calls)
    ]
    parts += [{"inlineData": {"mimeType": "image/png", "data": PICTURE}}] if said.picture else []
    told = {"finishMessage": said.refusal} if said.refusal else {}
    if said.cited:
        told["groundingMetadata"] = {"groundingChunks": [{"web": {"uri": URL, "title": "T"}}]}
    if said.logprobs:
        chosen = [{"token": piece, "logProbability": -0.25} for piece in said.halves]
        top = [{"candidates": [one, {"token": "x", "logProbability": -3}]} for one in chosen]
        told["logprobsResult"] = {"chosenCandidates": chosen, "topCandidates": top}

    def answer(*some, last=True):
        made = gemini.answer(*some, finish=finish if last else None, usageMetadata=gemini.USAGE)
        if last:
            made["candidates"][0].update(told)
        first = made["candidates"][0]
        made["candidates"] = [{**first, "index": index} for index in range(said.choices)]
        return made

    if not stream:
        return up.whole(answer(*parts))
    return gemini.stream(*(answer(part, last=False) for part in parts), answer())


# Cohere


def of_cohere(said, stream):
    reason = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR"}
    reason = reason[said.finish]
    calls = [call(index) for index in range(said.calls)]
    if not stream:
        content = [{"type": "thinking", "thinking": said.thought}] if said.thought else []
        content += [{"type": "text", "text": said.text}] if said.text is not None else []
        message = {"content": content} if content else {"tool_plan": "I will look."}
        message |= {"tool_calls": calls} if calls else {}
        message |= {"citations": [cohere.CITATION]} if said.cited else {}
        return cohere.whole(message, reason)
    pieces = []
    if said.thought:
        thought = {"content": {"type": "thinking", "thinking": said.thought}}
        pieces += [cohere.event("content-start", thought, index=0), cohere.event("content-end", index=0)]
    pieces += [cohere.text("", "content-start"), *map(cohere.text, said.halves)] if said.text is not None else []
    for index, one in enumerate(calls):
        begun = {**one, "function": {"name": "weather", "arguments": ""}}
        pieces.append(cohere.event("tool-call-start", {"tool_calls": begun}, index=index))
        more = {"tool_calls": {"function": {"arguments": ARGUED}}}
        pieces += [cohere.event("tool-call-delta", more, index=index), cohere.event("tool-call-end", index=index)]
    pieces += [cohere.event("citation-start", {"citations": cohere.CITATION}, index=0)] if said.cited else []
    return up.script(cohere.START, *pieces, cohere.end(reason), "finish")


# Servers of one's own


def of_ollama(said, stream):
    end = {**ollama.END, "done_reason": "length" if said.finish == "length" else "stop"}
    more = {"thinking": said.thought} if said.thought else {}
    if said.calls:
        function = {"name": "weather", "arguments": ARGUMENTS}
        more["tool_calls"] = [{"function": {"index": index, **function}} for index in range(said.calls)]

    def noted(*texts):
        return {"logprobs": tokens(*texts)["content"]} if said.logprobs else {}

    if not stream:
        return up.whole(ollama.said(said.text or "", message=more, **noted(*said.halves), **end))
    first = [ollama.said("", message=more)] if more else []
    pieces = [ollama.said(piece, **noted(piece)) for piece in said.halves]
    return ollama.stream(*first, *pieces, ollama.said(**end))


def of_tgi(said, stream):
    reason = "length" if said.finish == "length" else "eos_token"
    if stream:
        return up.script(*map(tgi.token, said.halves), tgi.end(said.text, reason), "finish")
    details = {"finish_reason": reason, "generated_tokens": 2, "prefill": [], "seed": None, "tokens": []}
    return up.whole({"generated_text": said.text, "details": details})


def of_triton(said, stream):
    counts = {"num_input_tokens": 4, "num_output_tokens": 1}
    if not stream:
        return up.whole(triton.generated(said.text, **counts, finish_reason=said.finish))
    *some, last = [{"text": piece, **counts} for piece in said.halves or [""]]
    pieces = [triton.generated(piece.pop("text"), **piece) for piece in some]
    pieces.append(triton.generated(last.pop("text"), **last, finish_reason=said.finish))
    return up.script(*map(up.event, pieces), "finish")


def tensor(said, stream):
    """Triton with a model that only knows infer: it never streams."""
    return up.whole({"outputs": [{"name": "OUT", "datatype": "BYTES", "shape": [1], "data": [said.text]}]})


def plain(said, stream):
    """A deployment of one's own: {"text": …, "why": …}, and lines of that."""
    if not stream:
        return up.whole({"text": said.text, "why": said.finish})
    pieces = [{"text": piece} for piece in said.halves] + [{"text": "", "why": said.finish}]
    lines = (json.dumps(piece).encode() + b"\n" for piece in pieces)
    return up.script(*lines, "finish", content_type=ollama.NDJSON)


# An error in each one's own shape: a limit, before the answer.


def limit(family):
    if family == "anthropic":
        return claude.error(429, "rate_limit_error", "Slow down.")
    if family == "gemini":
        return gemini.refusal(429, "RESOURCE_EXHAUSTED", "Slow down.")
    if family in ("cohere", "http"):
        return up.whole({"message": "Slow down."}, 429)
    if family in ("ollama", "triton", "tensor"):
        return up.whole({"error": "Slow down."}, 429)
    if family == "tgi":
        return up.whole({"error": "Slow down.", "error_type": "overloaded"}, 429)
    return up.error(429, "Slow down.", "rate_limit_error", "rate_limit_exceeded")


# A stream that says a word, and then breaks.


def cut(family):
    if family == "anthropic":
        return up.script(claude.start(), claude.text(0, "Hel"), claude.OVERLOADED, "finish")
    if family == "gemini":
        return gemini.stream(gemini.answer({"text": "Hel"}, finish=None))
    if family == "cohere":
        return up.script(cohere.START, cohere.text("Hel"), "finish")
    if family == "ollama":
        return ollama.stream(ollama.said("Hel"), {"error": "the runner has ended"})
    if family == "tgi":
        return up.script(tgi.token("Hel"), "finish")
    if family == "triton":
        return up.script(up.event(triton.generated("Hel")), up.event({"error": "it broke"}), "finish")
    if family == "http":
        return up.script(b'{"text":"Hel"}\n', b'{"text":', "finish", content_type=ollama.NDJSON)
    return up.script(up.ROLE, up.delta("Hel"), "finish")

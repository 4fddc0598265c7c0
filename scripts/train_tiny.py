#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train the tiny Llama on the grammar of tinygguf.py (needs PyTorch) and export it to GGUF.

    python3 train_tiny.py --out tiny-story.gguf --minutes 15
"""
import argparse
import math
import random
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

import tinygguf as tg


class Block(nn.Module):
    def __init__(self, e, h, ff):
        super().__init__()
        self.h = h
        self.attn_norm = nn.Parameter(torch.ones(e))
        self.ffn_norm = nn.Parameter(torch.ones(e))
        self.q = nn.Linear(e, e, bias=False)
        self.k = nn.Linear(e, e, bias=False)
        self.v = nn.Linear(e, e, bias=False)
        self.o = nn.Linear(e, e, bias=False)
        self.gate = nn.Linear(e, ff, bias=False)
        self.up = nn.Linear(e, ff, bias=False)
        self.down = nn.Linear(ff, e, bias=False)

    def forward(self, x, cos, sin, mask):
        B, T, E = x.shape
        n = rms(x, self.attn_norm)
        q, k, v = (f(n).view(B, T, self.h, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = rope(q, cos, sin), rope(k, cos, sin)
        a = (q @ k.transpose(-1, -2)) * (1.0 / math.sqrt(q.shape[-1])) + mask
        y = (a.softmax(-1) @ v).transpose(1, 2).reshape(B, T, E)
        x = x + self.o(y)
        n = rms(x, self.ffn_norm)
        return x + self.down(F.silu(self.gate(n)) * self.up(n))


def rms(x, w, eps=1e-5):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w


def rope(x, cos, sin):
    """Pairs are neighbours (0,1), (2,3), ...: what the loader does for arch 'llama'."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Tiny(nn.Module):
    def __init__(self, cfg, vocab):
        super().__init__()
        e, h = cfg["embd"], cfg["heads"]
        self.emb = nn.Embedding(vocab, e)
        self.blocks = nn.ModuleList(Block(e, h, cfg["ff"]) for _ in range(cfg["layers"]))
        self.norm = nn.Parameter(torch.ones(e))
        for n, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, 0.0, 0.02 if "emb" in n else 1 / math.sqrt(p.shape[1]))
        d = e // h
        self.inv = 1.0 / (10000.0 ** (torch.arange(0, d, 2).float() / d))

    def forward(self, ids):
        T = ids.shape[1]
        ang = torch.arange(T).float()[:, None] * self.inv[None]
        cos, sin = ang.cos(), ang.sin()
        mask = torch.full((T, T), float("-inf")).triu(1)
        x = self.emb(ids)
        for b in self.blocks:
            x = b(x, cos, sin, mask)
        return rms(x, self.norm) @ self.emb.weight.t()


def export(model, cfg, tok, path, wtype):
    sd = {"token_embd.weight": model.emb.weight, "output_norm.weight": model.norm}
    for i, b in enumerate(model.blocks):
        p = f"blk.{i}."
        sd.update({p + "attn_norm.weight": b.attn_norm, p + "ffn_norm.weight": b.ffn_norm,
                   p + "attn_q.weight": b.q.weight, p + "attn_k.weight": b.k.weight,
                   p + "attn_v.weight": b.v.weight, p + "attn_output.weight": b.o.weight,
                   p + "ffn_gate.weight": b.gate.weight, p + "ffn_up.weight": b.up.weight,
                   p + "ffn_down.weight": b.down.weight})
    t = [(n, d, sd[n].detach().flatten().tolist()) for n, d in tg.shapes(cfg, len(tok.tokens))]
    return tg.write_gguf(path, cfg, tok, t, "tiny-story", wtype)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", required=True)
    ap.add_argument("--embd", type=int, default=128)
    ap.add_argument("--layers", type=int, default=4)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--ff", type=int, default=384)
    ap.add_argument("--vocab", type=int, default=960)
    ap.add_argument("--ctx", type=int, default=1024)
    ap.add_argument("--seq", type=int, default=256)
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--minutes", type=float, default=15)
    ap.add_argument("--docs", type=int, default=40000)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--type", choices=["f32", "f16", "q8_0"], default="q8_0")
    a = ap.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(a.threads)
    cfg = {k: getattr(a, k) for k in ("embd", "layers", "heads", "ff", "ctx")}
    tok = tg.make_tokenizer(a.vocab)
    r, data, starts = random.Random(2), [], []
    for _ in range(a.docs):
        starts.append(len(data))
        data.append(tok.id[tg.BOS])
        data += tok.encode(tg.document(r))
        data.append(tok.id[tg.EOS])
    data = torch.tensor(data)
    starts = [s for s in starts if s + a.seq + 1 < len(data)]
    model = Tiny(cfg, len(tok.tokens))
    n = sum(p.numel() for p in model.parameters())
    print(f"{n} parameters, {len(data)} tokens in {a.docs} documents, "
          f"{len(tok.merges)} merges", flush=True)
    opt = torch.optim.AdamW(model.parameters(), lr=a.lr, betas=(0.9, 0.98), weight_decay=0.01)
    t0, step, seen, avg = time.time(), 0, 0, None
    while True:
        frac = (time.time() - t0) / (60 * a.minutes)
        if frac >= 1:
            break
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * frac)) + 0.02)
        # windows begin at a document start, so that positions mean what they will mean later
        ix = r.sample(starts, a.batch)
        xb = torch.stack([data[i:i + a.seq + 1] for i in ix])
        loss = F.cross_entropy(model(xb[:, :-1]).flatten(0, 1), xb[:, 1:].flatten())
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        step += 1
        seen += a.batch * a.seq
        avg = loss.item() if avg is None else 0.98 * avg + 0.02 * loss.item()
        if step % 50 == 0:
            print(f"step {step} loss {avg:.3f} {seen / (time.time() - t0):.0f} tok/s "
                  f"{time.time() - t0:.0f} s", flush=True)
    size = export(model, cfg, tok, a.out,
                  {"f32": tg.GGML_F32, "f16": tg.GGML_F16, "q8_0": tg.GGML_Q8_0}[a.type])
    print(f"{a.out}: {size} bytes, {step} steps, {seen} tokens seen, loss {avg:.3f}")


if __name__ == "__main__":
    main()

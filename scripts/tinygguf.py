#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make a tiny Llama-architecture GGUF file with nothing but the standard library.

What it does, in order:
  1. generates a text corpus from a small grammar (seeded, no outside data);
  2. learns a byte-level BPE vocabulary on it (256 bytes + specials + merges);
  3. fills a Llama-shaped set of tensors with seeded random numbers
     (or takes trained ones from train_tiny.py);
  4. writes a GGUF v3 file a libllama loader accepts.

    python3 tinygguf.py --out tiny-random.gguf --embd 64 --layers 2 --vocab 512

The result talks nonsense on purpose: it exists so that a server can be run and
measured with no download.  train_tiny.py uses the same module for a trained one.

A model whose tokens cost as much as those of one in earnest, in a second (93 million
weights, 99 MB; not for the repository):

    python3 tinygguf.py --out random-90m.gguf --90m
"""
import argparse
import array
import math
import random
import re
import struct
import sys

# ----------------------------------------------------------------- grammar --

NAMES = "Mia Tom Ada Leo Nora Finn Zoe Max Ivy Sam Lily Ben".split()
ANIMALS = "fox owl cat dog bear mouse rabbit frog duck horse turtle hedgehog".split()
ADJ = "small brave quiet clever happy curious gentle old young tired kind shy".split()
PLACES = ["a quiet forest", "a house by the sea", "an old mill", "a green valley",
          "a town with a tall tower", "a garden full of roses", "a cave near the river"]
OBJECTS = "key lantern map letter stone book box bell ring kite drum basket".split()
COLORS = "red blue green yellow white black golden silver".split()
FOODS = "apples bread soup cheese berries honey cake carrots".split()
WEATHER = ["the sun was warm", "it was raining", "snow fell softly",
           "the wind was loud", "the sky was clear", "there was fog on the hill"]
VERBS = [("walked", "to the river"), ("ran", "up the hill"), ("looked", "under the bridge"),
         ("went", "into the woods"), ("climbed", "over the wall"), ("waited", "by the door")]
FEELINGS = "glad proud calm excited surprised thankful".split()
NUMWORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
COLOR_OF = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black", "sun": "yellow",
            "rose": "red", "leaf": "green", "sea": "blue", "milk": "white", "lemon": "yellow"}
SOUND_OF = {"cat": "meow", "dog": "woof", "duck": "quack", "cow": "moo", "sheep": "baa",
            "owl": "hoot", "frog": "croak", "horse": "neigh", "mouse": "squeak"}
HOME_OF = {"fox": "den", "bird": "nest", "bee": "hive", "horse": "stable", "bear": "cave",
           "spider": "web", "dog": "kennel", "rabbit": "burrow"}


def art(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def story(r, animal=None):
    animal = animal or r.choice(ANIMALS)
    name, adj, adj2 = r.choice(NAMES), r.choice(ADJ), r.choice(ADJ)
    obj, color, place = r.choice(OBJECTS), r.choice(COLORS), r.choice(PLACES)
    friend, fname = r.choice(ANIMALS), r.choice([n for n in NAMES if n != name])
    v1, p1 = r.choice(VERBS)
    v2, p2 = r.choice(VERBS)
    food, feel = r.choice(FOODS), r.choice(FEELINGS)
    out = [f"Once upon a time there was {art(adj)} {animal} named {name}.",
           f"{name} lived in {place}."]
    out.append(r.choice([f"One day {r.choice(WEATHER)}, and {name} {v1} {p1}.",
                         f"Every morning {name} {v1} {p1}.",
                         f"One evening {name} could not sleep and {v1} {p1}."]))
    out.append(f"There {name} found {art(color)} {obj}.")
    out.append(r.choice([f'"Whose {obj} is this?" asked {name}.',
                         f'"What a fine {obj}!" said {name}.',
                         f"{name} had never seen such {art(obj)} before."]))
    out.append(f"Then {art(adj2)} {friend} named {fname} came by.")
    out.append(r.choice([f'"That {obj} is mine," said {fname}. "I lost it when I {v2} {p2}."',
                         f'"I know where the {obj} belongs," said {fname}.',
                         f'"Let us share the {obj}," said {fname}.']))
    out.append(r.choice([f"{name} gave the {obj} to {fname}, and {fname} gave {name} some {food}.",
                         f"They {v2} {p2} together and ate {food}.",
                         f"They put the {obj} on a shelf and ate {food}."]))
    out.append(f"{name} was {feel}, and {fname} was {r.choice(FEELINGS)} too.")
    out.append(r.choice(["The end.", "And that is how they became friends.",
                         "From that day on they met every week."]))
    return " ".join(out)


def qa(r):
    k = r.randrange(10)
    if k == 0:
        t = r.choice(list(COLOR_OF))
        return f"What color is the {t}?", f"The {t} is {COLOR_OF[t]}."
    if k == 1:
        a = r.choice(list(SOUND_OF))
        return f"What does the {a} say?", f"The {a} says {SOUND_OF[a]}."
    if k == 2:
        a = r.choice(list(HOME_OF))
        return f"Where does the {a} live?", f"The {a} lives in a {HOME_OF[a]}."
    if k == 3:
        a, b = sorted(r.sample(range(0, 13), 2))
        return (f"Count from {NUMWORDS[a]} to {NUMWORDS[b]}.",
                ", ".join(NUMWORDS[a:b + 1]) + ".")
    if k == 4:
        a, b = r.randrange(0, 7), r.randrange(0, 6)
        return f"What is {NUMWORDS[a]} plus {NUMWORDS[b]}?", \
            f"{NUMWORDS[a].capitalize()} plus {NUMWORDS[b]} is {NUMWORDS[a + b]}."
    if k == 5:
        what, pool = r.choice([("animals", ANIMALS), ("colors", COLORS), ("foods", FOODS),
                               ("names", NAMES), ("things", OBJECTS)])
        x = r.sample(pool, 3)
        return f"Name three {what}.", f"{x[0].capitalize()}, {x[1]} and {x[2]}."
    if k == 6:
        q = r.choice(["Hello", "Hello!", "Hi", "Hi there!", "Good morning!", "Hey"])
        return q, r.choice(["Hello! How can I help you?", "Hi! What would you like to hear?",
                            "Hello! Ask me for a story."])
    if k == 7:
        q = r.choice(["Who are you?", "What are you?", "What is your name?"])
        return q, ("I am a very small language model. I know a few words, "
                   "and I can tell short stories.")
    a = r.choice(ANIMALS)
    q = r.choice([f"Tell me a story about {art(a)}.", f"Write a story about {art(a)}.",
                  f"Please tell me a short story about {art(a)}.", "Tell me a story."])
    return q, story(r, a if a in q else None)


BOS, EOS, IM_START, IM_END, PAD = "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<pad>"
SPECIALS = [BOS, EOS, IM_START, IM_END, PAD]
CHAT_TEMPLATE = ("{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + "
                 "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
                 "{{ '<|im_start|>assistant\\n' }}{% endif %}")


def chat(r):
    s = ""
    if r.random() < 0.3:
        s += f"{IM_START}system\n" + r.choice(
            ["You are a helpful assistant.", "You tell short stories.",
             "Answer in one sentence."]) + f"{IM_END}\n"
    for _ in range(r.choice([1, 1, 1, 2])):
        q, a = qa(r)
        s += f"{IM_START}user\n{q}{IM_END}\n{IM_START}assistant\n{a}{IM_END}\n"
    return s


def document(r):
    """One training document (text with special-token spellings in it)."""
    return story(r) if r.random() < 0.4 else chat(r)


# --------------------------------------------------------------------- BPE --

def byte_alphabet():
    """GPT-2's printable stand-in for each byte value."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


B2U = byte_alphabet()
# the GPT-2 split, for ASCII text
SPLIT = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
SPECIAL_RE = re.compile("(" + "|".join(re.escape(s) for s in SPECIALS) + ")")


def words(text):
    for part in SPECIAL_RE.split(text):
        if part and part not in SPECIALS:
            yield from SPLIT.findall(part)


def learn_bpe(texts, n_merges):
    count = {}
    for t in texts:
        for w in words(t):
            count[w] = count.get(w, 0) + 1
    seqs = [([B2U[b] for b in w.encode()], c) for w, c in count.items()]
    merges = []
    while len(merges) < n_merges:
        pairs = {}
        for s, c in seqs:
            for a, b in zip(s, s[1:]):
                pairs[a, b] = pairs.get((a, b), 0) + c
        if not pairs:
            break
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(best)
        a, b = best
        for s, _ in seqs:
            i = 0
            while i < len(s) - 1:
                if s[i] == a and s[i + 1] == b:
                    s[i:i + 2] = [a + b]
                i += 1
    return merges


class Tokenizer:
    def __init__(self, merges, vocab_size):
        self.merges = merges
        self.rank = {m: i for i, m in enumerate(merges)}
        self.tokens = SPECIALS + [B2U[b] for b in range(256)] + [a + b for a, b in merges]
        self.types = [3] * len(SPECIALS) + [1] * (len(self.tokens) - len(SPECIALS))
        while len(self.tokens) < vocab_size:            # unused filler keeps the size round
            self.tokens.append(f"[unused{len(self.tokens)}]")
            self.types.append(5)
        self.id = {t: i for i, t in enumerate(self.tokens)}
        self.cache = {}

    def encode(self, text):
        out = []
        for part in SPECIAL_RE.split(text):
            if part in SPECIALS:
                out.append(self.id[part])
                continue
            for w in SPLIT.findall(part):
                ids = self.cache.get(w)
                if ids is None:
                    s = [B2U[b] for b in w.encode()]
                    while len(s) > 1:
                        r, i = min((self.rank.get((a, b), 1 << 30), i)
                                   for i, (a, b) in enumerate(zip(s, s[1:])))
                        if r == 1 << 30:
                            break
                        s[i:i + 2] = [s[i] + s[i + 1]]
                    ids = self.cache[w] = [self.id[t] for t in s]
                out += ids
        return out


# -------------------------------------------------------------------- GGUF --

T_U32, T_F32, T_BOOL, T_STR, T_ARR, T_I32 = 4, 6, 7, 8, 9, 5
GGML_F32, GGML_F16, GGML_Q8_0 = 0, 1, 8
ALIGN = 32


def _s(text):
    b = text.encode()
    return struct.pack("<Q", len(b)) + b


def kv(key, kind, value):
    out = _s(key) + struct.pack("<I", kind)
    if kind == T_U32:
        return out + struct.pack("<I", value)
    if kind == T_F32:
        return out + struct.pack("<f", value)
    if kind == T_BOOL:
        return out + struct.pack("<?", value)
    if kind == T_STR:
        return out + _s(value)
    raise ValueError(kind)


def kv_arr(key, kind, values):
    out = [_s(key), struct.pack("<IIQ", T_ARR, kind, len(values))]
    if kind == T_STR:
        out += [_s(v) for v in values]
    elif kind == T_I32:
        out.append(struct.pack(f"<{len(values)}i", *values))
    else:
        raise ValueError(kind)
    return b"".join(out)


def pack_tensor(values, kind):
    if isinstance(values, bytes):                       # packed already
        return values
    if kind == GGML_F32:
        return array.array("f", values).tobytes()
    if kind == GGML_F16:
        return struct.pack(f"<{len(values)}e", *values)
    out = bytearray()                                   # Q8_0: 32 values, one f16 scale
    for i in range(0, len(values), 32):
        blk = values[i:i + 32]
        amax = max(abs(v) for v in blk)
        d = amax / 127.0
        inv = 1.0 / d if d else 0.0
        out += struct.pack("<e", d)
        out += struct.pack("<32b", *(max(-127, min(127, int(round(v * inv)))) for v in blk))
    return bytes(out)


def write_gguf(path, cfg, tok, tensors, name, wtype):
    """tensors: list of (name, dims in ggml order (fastest first), flat list of floats)."""
    kvs = [
        kv("general.architecture", T_STR, "llama"),
        kv("general.name", T_STR, name),
        kv("general.alignment", T_U32, ALIGN),
        kv("general.file_type", T_U32, {GGML_F32: 0, GGML_F16: 1, GGML_Q8_0: 7}[wtype]),
        kv("llama.context_length", T_U32, cfg["ctx"]),
        kv("llama.embedding_length", T_U32, cfg["embd"]),
        kv("llama.block_count", T_U32, cfg["layers"]),
        kv("llama.feed_forward_length", T_U32, cfg["ff"]),
        kv("llama.attention.head_count", T_U32, cfg["heads"]),
        kv("llama.attention.head_count_kv", T_U32, cfg["heads"]),
        kv("llama.attention.layer_norm_rms_epsilon", T_F32, 1e-5),
        kv("llama.rope.dimension_count", T_U32, cfg["embd"] // cfg["heads"]),
        kv("llama.rope.freq_base", T_F32, 10000.0),
        kv("llama.vocab_size", T_U32, len(tok.tokens)),
        kv("tokenizer.ggml.model", T_STR, "gpt2"),
        kv("tokenizer.ggml.pre", T_STR, "gpt-2"),
        kv_arr("tokenizer.ggml.tokens", T_STR, tok.tokens),
        kv_arr("tokenizer.ggml.token_type", T_I32, tok.types),
        kv_arr("tokenizer.ggml.merges", T_STR, [f"{a} {b}" for a, b in tok.merges]),
        kv("tokenizer.ggml.bos_token_id", T_U32, tok.id[BOS]),
        kv("tokenizer.ggml.eos_token_id", T_U32, tok.id[EOS]),
        kv("tokenizer.ggml.eot_token_id", T_U32, tok.id[IM_END]),
        kv("tokenizer.ggml.padding_token_id", T_U32, tok.id[PAD]),
        kv("tokenizer.ggml.add_bos_token", T_BOOL, True),
        kv("tokenizer.ggml.add_eos_token", T_BOOL, False),
        kv("tokenizer.chat_template", T_STR, CHAT_TEMPLATE),
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(kvs)) + b"".join(kvs)
    infos, blobs, off = [], [], 0
    for tname, dims, data in tensors:
        kind = wtype if len(dims) == 2 else GGML_F32     # 1-d tensors stay f32
        blob = pack_tensor(data, kind)
        infos.append(_s(tname) + struct.pack("<I", len(dims)) +
                     struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, off))
        blob += b"\0" * (-len(blob) % ALIGN)
        blobs.append(blob)
        off += len(blob)
    head += b"".join(infos)
    head += b"\0" * (-len(head) % ALIGN)
    with open(path, "wb") as f:
        f.write(head)
        for b in blobs:
            f.write(b)
    return len(head) + off


def shapes(cfg, vocab, tied=True):
    e, ff = cfg["embd"], cfg["ff"]
    out = [("token_embd.weight", (e, vocab))]
    for i in range(cfg["layers"]):
        p = f"blk.{i}."
        out += [(p + "attn_norm.weight", (e,)), (p + "attn_q.weight", (e, e)),
                (p + "attn_k.weight", (e, e)), (p + "attn_v.weight", (e, e)),
                (p + "attn_output.weight", (e, e)), (p + "ffn_norm.weight", (e,)),
                (p + "ffn_gate.weight", (e, ff)), (p + "ffn_up.weight", (e, ff)),
                (p + "ffn_down.weight", (ff, e))]
    out.append(("output_norm.weight", (e,)))
    if not tied:                # without output.weight a loader reuses token_embd.weight
        out.append(("output.weight", (e, vocab)))
    return out


def random_tensors(cfg, tok, seed, raw_bytes):
    """Gaussian weights.  Channel 0 of every embedding is a large constant, so that it
    survives the layers and works as a bias of the output: tokens that are no printable
    ASCII text get a negative one and are (almost) never sampled, unless raw_bytes."""
    r, out, e = random.Random(seed), [], cfg["embd"]
    printable = {B2U[b] for b in range(32, 127)}
    for name, dims in shapes(cfg, len(tok.tokens), tied=False):
        n = math.prod(dims)
        if len(dims) == 1:
            out.append((name, dims, [1.0] * n))
            continue
        w = [r.gauss(0.0, 1.0 / math.sqrt(dims[0])) for _ in range(n)]
        if name in ("token_embd.weight", "output.weight"):
            for t, s in enumerate(tok.tokens):
                text = t >= len(SPECIALS) and tok.types[t] == 1 and all(c in printable for c in s)
                if name == "token_embd.weight":
                    w[t * e] = 3.0
                elif raw_bytes and tok.types[t] == 1:
                    w[t * e] = 0.0
                else:
                    w[t * e] = 0.0 if text else -6.0
        out.append((name, dims, w))
    return out


def random_q8_0(r, dims, first=None, still=False):
    """A tensor of uniform random bytes as Q8_0, without a Python object per weight: its spread is
    1/sqrt(dims[0]).  `first`: the value of the first weight of each row, with a block of its own.
    `still`: channel 0 of what it puts out is 0."""
    spread = 1.0 / math.sqrt(dims[0])
    n = math.prod(dims) // 32
    scale = struct.pack("<e", spread / (255 / math.sqrt(12)))
    noise = r.randbytes(n * 32).translate(bytes(range(128)) + b"\x81" + bytes(range(129, 256)))
    out = bytearray(n * 34)
    for at in (0, 1):
        out[at::34] = scale[at:at + 1] * n
    for at in range(32):
        out[2 + at::34] = noise[at * n:(at + 1) * n]
    row = dims[0] // 32 * 34
    if still:
        out[:row] = bytes(row)
    for t, value in enumerate(first or ()):
        d = max(abs(value), 4 * spread) / 127
        rest = (max(-127, min(127, round(r.gauss(0, spread) / d))) for _ in range(31))
        out[t * row:t * row + 34] = struct.pack("<e32b", d, round(value / d), *rest)
    return bytes(out)


def quick_tensors(cfg, tok, seed):
    """As random_tensors, but Q8_0 from the start, for models too large to go through lists.  No
    layer writes to channel 0, which so many would drown."""
    r, out = random.Random(seed), []
    printable = {B2U[b] for b in range(32, 127)}
    bias = [0.0 if t >= len(SPECIALS) and tok.types[t] == 1 and all(c in printable for c in s)
            else -60.0 for t, s in enumerate(tok.tokens)]
    first = {"token_embd.weight": [3.0] * len(bias), "output.weight": bias}
    for name, dims in shapes(cfg, len(tok.tokens), tied=False):
        still = name.endswith(("attn_output.weight", "ffn_down.weight"))
        data = [1.0] * dims[0] if len(dims) == 1 else random_q8_0(r, dims, first.get(name), still)
        out.append((name, dims, data))
    return out


def make_tokenizer(vocab, seed=1, docs=3000):
    r = random.Random(seed)
    return Tokenizer(learn_bpe([document(r) for _ in range(docs)],
                               vocab - 256 - len(SPECIALS)), vocab)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", required=True)
    ap.add_argument("--embd", type=int, default=64)
    ap.add_argument("--layers", type=int, default=2)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--ff", type=int, default=192)
    ap.add_argument("--vocab", type=int, default=512)
    ap.add_argument("--ctx", type=int, default=2048)
    ap.add_argument("--type", choices=["f32", "f16", "q8_0"], default="f16")
    ap.add_argument("--seed", type=int, default=7)
    ap.add_argument("--raw-bytes", action="store_true",
                    help="let it emit any byte, so invalid UTF-8 too")
    ap.add_argument("--90m", dest="large", action="store_true",
                    help="93 million weights as Q8_0, whatever else is said but --seed")
    a = ap.parse_args()
    if a.large:
        a.embd, a.layers, a.heads, a.ff, a.vocab, a.ctx = 768, 12, 12, 2304, 960, 4096
        a.type = "q8_0"
    cfg = {k: getattr(a, k) for k in ("embd", "layers", "heads", "ff", "ctx")}
    tok = make_tokenizer(a.vocab)
    t = quick_tensors(cfg, tok, a.seed) if a.large else \
        random_tensors(cfg, tok, a.seed, a.raw_bytes)
    n = write_gguf(a.out, cfg, tok, t, f"random-{a.embd}x{a.layers}",
                   {"f32": GGML_F32, "f16": GGML_F16, "q8_0": GGML_Q8_0}[a.type])
    print(f"{a.out}: {n} bytes, {sum(math.prod(dims) for _, dims, _ in t)} parameters, "
          f"{len(tok.tokens)} tokens, {len(tok.merges)} merges", file=sys.stderr)


if __name__ == "__main__":
    main()

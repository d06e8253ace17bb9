#!/usr/bin/env python3
"""Trains the demo model and writes it beside this file in Hugging Face form. README.md has the rest.

python train.py --minutes 30                     trains for half an hour of wall time, then exports
python train.py --minutes 30 --resume --seed 3   goes on from the checkpoint, at half the rate
python train.py --export-only                    exports the checkpoint
python train.py --sample 8                       prints what the exported model writes
"""

import argparse
import math
import pathlib
import time

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from stories import ANIMAL_NAMES, ANIMALS, BOYS, GIRLS, GROWN_UPS, MAGIC, TOYS, stories

HERE = pathlib.Path(__file__).resolve().parent
BOS, EOS = "<s>", "</s>"
VOCAB_SIZE = 1024
MAX_POSITIONS = 512
BATCH = 4  # blocks of MAX_POSITIONS tokens in a step
PEAK_RATE, LAST_RATE, WARM_UP_STEPS = 3e-3, 1e-4, 50
FACT_WEIGHT = 4.0
TRAIN_SEED, VALIDATION_SEED = 1, 2


def train_tokenizer(path):
    """Byte-level BPE; BOS is added to every text, EOS ends every story in training."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[BOS, EOS],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(stories(20000, TRAIN_SEED), trainer)
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B:1", special_tokens=[(BOS, bos)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(path)


def blocks(tokenizer, seed):
    """Endless blocks of MAX_POSITIONS ids. Each starts with a story and so with BOS at position 0, as at inference."""
    eos = tokenizer.token_to_id(EOS)
    source = stories(10**9, seed)
    while True:
        texts = [next(source) for _ in range(256)]
        block = []
        for encoding in tokenizer.encode_batch(texts):
            block += encoding.ids + [eos]
            if len(block) >= MAX_POSITIONS:
                yield block[:MAX_POSITIONS]
                block = []


def batch_of(source):
    return torch.tensor([next(source) for _ in range(BATCH)])


def new_model():
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=MAX_POSITIONS,
        rms_norm_eps=1e-5,
        hidden_act="silu",
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        attention_bias=False,
        mlp_bias=False,
    )
    torch.manual_seed(TRAIN_SEED)
    return LlamaForCausalLM(config)


def fact_weights(tokenizer):
    """A weight for each id: more for the words a story must repeat, such as its names.

    They are few among the tokens, most of whose loss is the free choice of wording, so without weights
    copying them from earlier lines is learned last.
    """
    words = GIRLS + BOYS + ANIMAL_NAMES + ANIMALS + TOYS + [magic for magic, _ in MAGIC]
    words += [word.split()[-1] for word, _ in GROWN_UPS] + [
        "he",
        "she",
        "his",
        "her",
        "him",
        "He",
        "She",
        "His",
        "Her",
    ]
    weights = torch.ones(VOCAB_SIZE)
    for word in words:
        ids = tokenizer.encode(" " + word, add_special_tokens=False).ids
        if len(ids) == 1:
            weights[ids[0]] = FACT_WEIGHT
    return weights


def loss_of(model, ids, weights=None):
    logits = model(input_ids=ids, use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, VOCAB_SIZE).float(), ids[:, 1:].reshape(-1), weights
    )


def validate(model, tokenizer, batches=8):
    """Mean loss per token over stories of a seed that training never draws."""
    source = blocks(tokenizer, VALIDATION_SEED)
    model.eval()
    with torch.no_grad():
        loss = sum(loss_of(model, batch_of(source)).item() for _ in range(batches)) / batches
    model.train()
    return loss


def train(model, tokenizer, minutes, checkpoint, seed, peak_rate):
    """AdamW; the cosine follows wall time, so that the run ends where it should on any machine."""
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=peak_rate,
        betas=(0.9, 0.95),
        fused=True,
    )
    source, weights = blocks(tokenizer, seed), fact_weights(tokenizer)
    start, saved, step, mean = time.time(), time.time(), 0, None
    while True:
        done = (time.time() - start) / (60 * minutes)
        if done >= 1:
            break
        rate = LAST_RATE + (peak_rate - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / WARM_UP_STEPS)
        loss = loss_of(model, batch_of(source), weights)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if step % 50 == 0:
            print(
                f"step {step} tokens {step * BATCH * MAX_POSITIONS / 1e6:.2f}M loss {mean:.4f} "
                f"{step * BATCH * MAX_POSITIONS / (time.time() - start):.0f} tok/s",
                flush=True,
            )
        if time.time() - saved > 120:
            torch.save(model.state_dict(), checkpoint)
            saved = time.time()
    torch.save(model.state_dict(), checkpoint)
    print(f"steps {step} tokens {step * BATCH * MAX_POSITIONS} loss {mean:.4f}")


def export(model, tokenizer):
    """bf16 weights in Hugging Face form; the loss is that of the rounded weights."""
    model = model.to(torch.bfloat16)
    model.generation_config.update(
        bos_token_id=0, eos_token_id=1, max_new_tokens=400, do_sample=False
    )
    model.save_pretrained(HERE)
    print(f"parameters {sum(p.numel() for p in model.parameters())}")
    print(f"validation loss, bf16 weights: {validate(model.float(), tokenizer):.4f}")


def sample(count):
    """Greedy, then at temperature 0.8."""
    model = AutoModelForCausalLM.from_pretrained(HERE, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    torch.manual_seed(0)
    for i in range(count):
        prompt = ["Once upon a time", "One day, a little girl named Lily", "The old bear", ""][
            i % 4
        ]
        ids = torch.tensor([tokenizer.encode(prompt).ids])
        sampling = (
            {"do_sample": False} if i < 4 else {"do_sample": True, "temperature": 0.8, "top_k": 0}
        )
        output = model.generate(ids, max_new_tokens=400, **sampling)[0].tolist()
        print(
            f"--- {'greedy' if i < 4 else 'temperature 0.8'}, {len(output)} ids, ended {output[-1] == 1}"
        )
        print(tokenizer.decode(output), end="\n\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--checkpoint", default="/tmp/llmc-demo.pt", help="where the weights in training are kept"
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--seed", type=int, default=TRAIN_SEED, help="of the stories")
    parser.add_argument("--export-only", action="store_true")
    parser.add_argument("--sample", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.sample:
        return sample(arguments.sample)
    if not (HERE / "tokenizer.json").exists():
        train_tokenizer(HERE)
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    model = new_model()
    if arguments.resume or arguments.export_only:
        model.load_state_dict(torch.load(arguments.checkpoint))
    if not arguments.export_only:
        peak_rate = PEAK_RATE / 2 if arguments.resume else PEAK_RATE
        train(model, tokenizer, arguments.minutes, arguments.checkpoint, arguments.seed, peak_rate)
    export(model, tokenizer)


if __name__ == "__main__":
    main()

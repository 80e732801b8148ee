"""Whole folders as programs load them: transformers, diffusers, peft, accelerate.

``pretrained.py FOLDER``: prints one line per way to load, with a digest of what was computed.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import warnings
from pathlib import Path

import torch

warnings.simplefilter("ignore")
HERE = sys.argv[1]


def said(way: str, tensor: torch.Tensor) -> None:
    print(way, hashlib.sha256(tensor.detach().double().numpy().tobytes()).hexdigest()[:16])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.arange(8)[None]).logits


def transformers_ways() -> None:
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoTokenizer,
        GPT2LMHeadModel,
        pipeline,
    )

    config = AutoConfig.from_pretrained(f"{HERE}/single")
    print("config", config.n_embd, config.model_type)
    said("auto", logits(AutoModelForCausalLM.from_pretrained(f"{HERE}/single")))
    said("class", logits(GPT2LMHeadModel.from_pretrained(Path(HERE, "single"))))
    said("sharded", logits(AutoModelForCausalLM.from_pretrained(f"{HERE}/sharded")))
    half = AutoModelForCausalLM.from_pretrained(f"{HERE}/sharded", dtype=torch.bfloat16)
    said("bfloat16", logits(half))
    mapped = AutoModelForCausalLM.from_pretrained(f"{HERE}/sharded", device_map="cpu")
    said("device map", logits(mapped))
    tokenizer = AutoTokenizer.from_pretrained(f"{HERE}/single")
    print("tokenizer", tokenizer("w1 w2 w9")["input_ids"])
    talk = pipeline("text-generation", model=f"{HERE}/single", tokenizer=f"{HERE}/single")
    print("pipeline", talk("w1 w2", max_new_tokens=4, do_sample=False)[0]["generated_text"])
    custom = AutoModelForCausalLM.from_pretrained(f"{HERE}/custom", trust_remote_code=True)
    print("custom", type(custom).__name__)
    said("custom", logits(custom))


def peft_ways() -> None:
    from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel
    from peft.utils import load_peft_weights
    from transformers import AutoModelForCausalLM

    print("peft config", PeftConfig.from_pretrained(f"{HERE}/lora").r)
    base = AutoModelForCausalLM.from_pretrained(f"{HERE}/single")
    said("peft", logits(PeftModel.from_pretrained(base, f"{HERE}/lora")))
    weights = load_peft_weights(f"{HERE}/lora")
    said("peft weights", torch.cat([weights[name].flatten() for name in sorted(weights)]))
    base = AutoModelForCausalLM.from_pretrained(f"{HERE}/single")
    base.load_adapter(f"{HERE}/lora")
    said("load_adapter", logits(base))
    del AutoPeftModelForCausalLM


def accelerate_ways() -> None:
    from accelerate import init_empty_weights, load_checkpoint_and_dispatch
    from transformers import AutoConfig, AutoModelForCausalLM

    with init_empty_weights():
        empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(f"{HERE}/sharded"))
    empty.tie_weights()
    model = load_checkpoint_and_dispatch(empty, f"{HERE}/sharded", device_map={"": "cpu"})
    said("dispatch", logits(model))
    placed = {"transformer.wte": "cpu", "lm_head": "cpu", "transformer.wpe": "cpu",
              "transformer.h.0": "disk", "transformer.h.1": "disk", "transformer.h.2": "disk",
              "transformer.ln_f": "cpu"}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        offloaded = AutoModelForCausalLM.from_pretrained(
            f"{HERE}/sharded", device_map=placed, offload_folder=folder
        )
        said("offloaded", logits(offloaded))
        said("offloaded again", logits(offloaded))
        print("written", sorted(path.name for path in Path(folder).iterdir()))


def diffusers_ways() -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DModel

    unet = UNet2DModel.from_pretrained(f"{HERE}/ddpm", subfolder="unet")
    with torch.no_grad():
        said("unet", unet(torch.ones(1, 1, 8, 8), 1).sample)
    unet = UNet2DModel.from_pretrained(f"{HERE}/ddpm/unet")
    print("scheduler", DDPMScheduler.from_pretrained(f"{HERE}/ddpm/scheduler").config.beta_end)
    for cls in (DDPMPipeline, DiffusionPipeline):
        made = cls.from_pretrained(f"{HERE}/ddpm")
        made.set_progress_bar_config(disable=True)
        images = made(generator=torch.Generator().manual_seed(1), output_type="np",
                      num_inference_steps=2).images  # fmt: skip
        said(cls.__name__, torch.from_numpy(images))


transformers_ways()
peft_ways()
accelerate_ways()
diffusers_ways()

"""``make_pretrained.py FOLDER``: tiny random models in the layouts that people publish."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

CONFIGURATION = """\
from transformers import GPT2Config


class TinyConfig(GPT2Config):
    model_type = "tinycustom"
"""
MODELING = """\
from transformers import GPT2LMHeadModel

from .configuration_tiny import TinyConfig


class TinyModel(GPT2LMHeadModel):
    config_class = TinyConfig
"""
AUTO_MAP = {
    "AutoConfig": "configuration_tiny.TinyConfig",
    "AutoModelForCausalLM": "modeling_tiny.TinyModel",
}

root = Path(sys.argv[1])
torch.manual_seed(0)
config = GPT2Config(
    vocab_size=64, n_positions=32, n_embd=32, n_layer=3, n_head=2, bos_token_id=1, eos_token_id=2
)
model = GPT2LMHeadModel(config)
words = {f"w{number}": number for number in range(63)} | {"[UNK]": 63}
tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
for name, size in (("single", "5GB"), ("sharded", "20KB")):
    model.save_pretrained(root / name, max_shard_size=size)
    fast.save_pretrained(root / name)

custom = root / "custom"
model.save_pretrained(custom)
told = json.loads((custom / "config.json").read_text())
(custom / "config.json").write_text(
    json.dumps(told | {"auto_map": AUTO_MAP, "model_type": "tinycustom"})
)
(custom / "configuration_tiny.py").write_text(CONFIGURATION)
(custom / "modeling_tiny.py").write_text(MODELING)

lora = LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False, fan_in_fan_out=True)
get_peft_model(GPT2LMHeadModel(config), lora).save_pretrained(root / "lora")

unet = UNet2DModel(
    sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 8),
    norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
)  # fmt: skip
DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=4)).save_pretrained(root / "ddpm")

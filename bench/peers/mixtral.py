"""Hugging Face's Mixtral in our sizes, with random weights."""

import torch
from transformers import MixtralConfig, MixtralForCausalLM
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

EXPERT_FORMS = ("eager", "grouped_mm")


def make_model(sizes, positions, experts, device):
    """`sizes` carries Hugging Face's names in camelCase; `experts` is one of EXPERT_FORMS."""
    heads = sizes["numAttentionHeads"]
    config = MixtralConfig(
        vocab_size=sizes["vocabSize"],
        hidden_size=sizes["hiddenSize"],
        intermediate_size=sizes["intermediateSize"],
        num_hidden_layers=sizes["numHiddenLayers"],
        num_attention_heads=heads,
        num_key_value_heads=sizes.get("numKeyValueHeads", heads),
        head_dim=sizes.get("headDim", sizes["hiddenSize"] // heads),
        num_local_experts=sizes["numExperts"],
        num_experts_per_tok=sizes["numExpertsPerTok"],
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    config._attn_implementation = "sdpa"
    config._experts_implementation = experts
    return MixtralForCausalLM(config).to(device=device, dtype=torch.float32)


def make_block(sizes, experts, device):
    """One layer's router and experts, with weights as `MixtralForCausalLM` draws them."""
    config = MixtralConfig(
        hidden_size=sizes["hiddenSize"],
        intermediate_size=sizes["intermediateSize"],
        num_local_experts=sizes["numExperts"],
        num_experts_per_tok=sizes["numExpertsPerTok"],
    )
    config._experts_implementation = experts
    block = MixtralSparseMoeBlock(config)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=config.initializer_range)
    return block.to(device=device, dtype=torch.float32)

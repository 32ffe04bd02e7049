"""A training step of a LoRA by PEFT on a frozen Mistral: forward, cross-entropy, backward, fused AdamW."""

import importlib.util
import sys

import torch
import torch.nn.functional as F
from harness import answer, device_for, fastest, measure, precision_of, settings
from transformers import MistralConfig, MistralForCausalLM


def main():
    if importlib.util.find_spec("peft") is None:
        answer({"missing": "this Python has no peft; pip install peft"})
        sys.exit(0)
    given = settings()
    device = device_for(given["backend"])
    batch, seq, vocab = given["batch"], given["seq"], given["vocabSize"]
    ids = torch.randint(0, vocab, (batch, seq), device=device)
    targets = torch.randint(0, vocab, (batch * seq,), device=device)

    def times_with(attention):
        model = adapted_mistral(given, attention).to(device)
        model.train()
        factors = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(factors, lr=1e-3, fused=True)

        def step():
            with precision_of(given):
                logits = model(input_ids=ids, use_cache=False).logits
                loss = F.cross_entropy(logits.view(-1, vocab), targets)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(factors, 1.0)
            optimizer.step()
            return loss.item()

        return measure(step, device, given["repeats"], warm_up=2)

    answer(fastest(device, times_with, ("sdpa", "eager"), given["precision"]))


def adapted_mistral(sizes, attention):
    from peft import LoraConfig, get_peft_model

    config = MistralConfig(
        vocab_size=sizes["vocabSize"],
        hidden_size=sizes["hiddenSize"],
        intermediate_size=sizes["intermediateSize"],
        num_hidden_layers=sizes["numHiddenLayers"],
        num_attention_heads=sizes["numAttentionHeads"],
        num_key_value_heads=sizes["numKeyValueHeads"],
        head_dim=sizes["hiddenSize"] // sizes["numAttentionHeads"],
        max_position_embeddings=sizes["seq"],
        sliding_window=None,
        bos_token_id=0,
        eos_token_id=0,
    )
    config._attn_implementation = attention
    lora = LoraConfig(
        r=sizes["r"], lora_alpha=sizes["loraAlpha"], target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]
    )
    return get_peft_model(MistralForCausalLM(config).to(torch.float32), lora)


main()

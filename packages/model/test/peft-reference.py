"""Loads an adapter with PEFT and says what it computes, as one JSON object; saves it again to AGAIN_DIR.

usage: python peft-reference.py BASE_DIR ADAPTER_DIR AGAIN_DIR IDS
needs: torch (CPU), transformers, peft.

  logits     float32 logits, [seq * vocab]
  trainable  how many parameters PEFT trains
  gradients  of the mean square of the logits, flat, by the names of adapter_model.safetensors
"""
import json, sys, torch, transformers, peft

base, adapter, again, ids = *sys.argv[1:4], json.loads(sys.argv[4])
model = transformers.AutoModelForCausalLM.from_pretrained(
    base, dtype=torch.float32, experts_implementation='eager')
model = peft.PeftModel.from_pretrained(model, adapter, is_trainable=True).eval()
model.save_pretrained(again)
logits = model(input_ids=torch.tensor([ids])).logits[0]
logits.square().mean().backward()
trained = {n.replace('.default', ''): p for n, p in model.named_parameters() if p.requires_grad}
print(json.dumps(dict(
    logits=logits.flatten().tolist(),
    trainable=model.get_nb_trainable_parameters()[0],
    gradients={n.replace('magnitude_vector.weight', 'magnitude_vector'): p.grad.flatten().tolist() for n, p in trained.items()})))

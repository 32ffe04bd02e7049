"""Loads checkpoint folders with transformers and says what they compute, as one JSON object by folder.

usage: python transformers-reference.py IDS DIR...
needs: torch (CPU), transformers.

  logits   float32 logits, [seq * vocab]
  strange  keys of the checkpoint that are missing, unexpected or of another shape
  class    of the model
"""
import json, sys, torch, transformers

ids = torch.tensor([json.loads(sys.argv[1])])
results = {}
for folder in sys.argv[2:]:
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation='eager', experts_implementation='eager', output_loading_info=True)
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits[0]
    results[folder] = dict(
        logits=logits.flatten().tolist(),
        strange=[str(key) for kind in ('missing_keys', 'unexpected_keys', 'mismatched_keys') for key in info[kind]],
        **{'class': type(model).__name__})
print(json.dumps(results))

"""Makes an adapter with PEFT, moves its factors, writes it, and says what it computes, as one JSON object.

usage: python peft-writes.py BASE_DIR CONFIG_JSON OUT_DIR IDS
needs: torch (CPU), transformers, peft.

OUT_DIR/plain is what save_pretrained writes; OUT_DIR/converted, for adapters that start from the base, what it writes with
path_initial_model_for_weight_conversion.

  logits   float32 logits, [seq * vocab]
  started  scale * B A of each linear before its factors moved, [out * in] flat, by module path
"""
import json, sys, torch, transformers, peft

base, settings, out, ids = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
torch.manual_seed(7)
model = transformers.AutoModelForCausalLM.from_pretrained(
    base, dtype=torch.float32, experts_implementation='eager')
model = peft.get_peft_model(model, peft.LoraConfig(task_type='CAUSAL_LM', **settings)).eval()
config = model.peft_config['default']
start = config.init_lora_weights
with torch.no_grad():
    started = {n[len('base_model.model.'):]: m.get_delta_weight('default').flatten().tolist()
               for n, m in model.named_modules() if isinstance(m, peft.tuners.lora.layer.Linear)}
    if isinstance(start, str):
        config.init_lora_weights = True
        model.save_pretrained(out + '/initial')
        config.init_lora_weights = start
    for p in model.parameters():
        if p.requires_grad:
            p += 0.1 * torch.randn_like(p)
    logits = model(input_ids=torch.tensor([ids])).logits[0]
model.save_pretrained(out + '/plain')
if isinstance(start, str):
    model.save_pretrained(out + '/converted', path_initial_model_for_weight_conversion=out + '/initial')
print(json.dumps(dict(logits=logits.flatten().tolist(), started=started)))

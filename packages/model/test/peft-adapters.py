"""Runs several adapters of one model in PEFT and says what they compute, as one JSON object.

usage: python peft-adapters.py BASE_DIR QUESTION
needs: torch (CPU), transformers, peft.

QUESTION is JSON: {"adapters": {name: folder}, "batch": [[id]], "rows": [name or null], "combine": [arguments of add_weighted_adapter]}

  logits     float32, [batch * seq * vocab], each row through its own adapter (null: through none)
  deltas     for each of "combine" the update of every linear, [in, out], flat, by path
"""
import json, sys, torch, transformers, peft

base, question = sys.argv[1], json.loads(sys.argv[2])
model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
(first, folder), *others = question['adapters'].items()
model = peft.PeftModel.from_pretrained(model, folder, adapter_name=first)
for name, folder in others:
    model.load_adapter(folder, adapter_name=name)
model.eval()
answer = {'deltas': []}
with torch.no_grad():
    if question.get('batch'):
        rows = [name or '__base__' for name in question['rows']]
        logits = model(input_ids=torch.tensor(question['batch']), adapter_names=rows).logits
        answer['logits'] = logits.flatten().tolist()
    for i, arguments in enumerate(question['combine']):
        model.add_weighted_adapter(adapter_name=f'combined{i}', **arguments)
        answer['deltas'].append({
            path.removeprefix('base_model.model.'): module.get_delta_weight(f'combined{i}').T.flatten().tolist()
            for path, module in model.named_modules()
            if isinstance(module, peft.tuners.lora.Linear) and f'combined{i}' in module.lora_A})
print(json.dumps(answer))

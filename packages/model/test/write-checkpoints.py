"""Writes small random checkpoints with transformers and what it computes for them.

usage: python write-checkpoints.py OUT_DIR CASES
needs: torch (CPU), transformers.

CASES is a JSON object: name -> { family, config, fused }. Every case becomes a folder with config.json, model.safetensors
(`fused`: as transformers 5 keeps the experts in memory) and expected.json, as in the fixtures. `defaults.json` holds the
config of each family that is given no field.
"""
import json, pathlib, sys, torch, transformers

out, cases = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
classes = dict(mistral='Mistral', mixtral='Mixtral', qwen2_moe='Qwen2Moe')
ids = [5, 3, 17, 29, 2, 11, 23, 7, 19, 13, 3]

def build(family, config):
    settings = getattr(transformers, classes[family] + 'Config')(**config)
    model = getattr(transformers, classes[family] + 'ForCausalLM')(settings).eval()
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.2 + (1.0 if name.endswith('norm.weight') else 0.0))
    return model

def logits(model, text):
    with torch.no_grad():
        return model(input_ids=torch.tensor([text])).logits[0].float()

for name, case in cases.items():
    model = build(case['family'], case['config'])
    model.save_pretrained(out / name, save_original_format=not case.get('fused', False))
    whole, text = logits(model, ids), list(ids)
    for _ in range(5):
        text.append(int(logits(model, text)[-1].argmax()))
    expected = dict(ids=ids, logits=whole[-1].tolist(), all_argmax=whole.argmax(-1).tolist(), greedy=text[len(ids):])
    (out / name / 'expected.json').write_text(json.dumps(expected))

defaults = {family: getattr(transformers, name + 'Config')().to_dict() for family, name in classes.items()}
(out / 'defaults.json').write_text(json.dumps(defaults))

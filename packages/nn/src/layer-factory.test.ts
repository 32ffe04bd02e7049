import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { freshLayers, type LayerFactory, Linear, layersUnder } from './index.js';

describeOnBackends('layersUnder', () => {
  it('puts its prefix before every path, however often', () => {
    const asked: string[] = [];
    const refuse = (path: string): never => {
      asked.push(path);
      throw new Error(path);
    };
    const noted: LayerFactory = { linear: refuse, stacked: refuse, embedding: refuse };
    const inner = layersUnder(layersUnder(noted, 'model'), 'layers.0');
    const drawn = { deviation: 1, seed: 7 };
    expect(() => inner.linear('q_proj', 2, 3, drawn)).toThrow();
    expect(() => inner.stacked('experts.down_proj', 2, 3, 5, drawn)).toThrow();
    expect(() => layersUnder(noted, 'model').embedding('embed_tokens', 2, 3, drawn)).toThrow();
    expect(asked).toEqual(['model.layers.0.q_proj', 'model.layers.0.experts.down_proj', 'model.embed_tokens']);
  });
});

describeOnBackends('freshLayers', () => {
  it('draws what Linear.create draws, whatever the path', async () => {
    const layer = freshLayers.linear('q_proj', 2, 3, { deviation: 0.5, bias: true, seed: 7 });
    const plain = Linear.create(2, 3, { deviation: 0.5, bias: true, seed: 7 });
    await expectClose(layer.parameters().get('weight')!, plain.weight, 0);
    expect([...layer.parameters().keys()]).toEqual(['weight', 'bias']);
    layer.dispose();
    plain.dispose();
  });
});

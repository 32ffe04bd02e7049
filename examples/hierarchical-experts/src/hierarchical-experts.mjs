import { join } from 'node:path';
import {
  bitsPerByte,
  reportRouting,
  routeRows,
  sample,
  survivesSaving,
  trainPreset,
} from '@therapeutic-moe/example-train-a-preset';
import { LanguageModel, model as models } from 'therapeutic-moe';

/** Trains the hierarchical preset, removes half of its experts by measured load, and says what was lost. */
export async function run(options) {
  const { model, heldOut, loss, lastStep } = await trainPreset('hierarchical', options);
  console.log(`sample: ${await sample(model, 'The model')}`);

  const { numDomains } = model.decoder.config.attention;
  for (let layer = 0; layer < model.decoder.config.numHiddenLayers; layer++) {
    const mix = lastStep.domainMixByLayer.slice(layer * numDomains, (layer + 1) * numDomains);
    console.log(`layer ${layer}: attention mixes its domains ${percent(mix)}`);
  }

  const routing = await routeRows(model, heldOut);
  const { load } = routing;
  const { numExperts } = model.decoder.config.mixture;
  const pruned = models.pruneModel(model.decoder, load, numExperts / 2);
  for (const [layer, kept] of pruned.kept.entries()) {
    console.log(
      `layer ${layer}: load ${percent(load[layer])}; experts ${kept.join(', ')} stay, ${(100 * pruned.lostLoad[layer]).toFixed(1)} % of the choices go elsewhere`,
    );
  }
  const small = new LanguageModel({
    ...model,
    id: `${model.id} pruned`,
    decoder: pruned.model,
    defaults: { ...model.defaults, guidanceScale: 1 },
  });
  const cost = { before: await bitsPerByte(model, heldOut), after: await bitsPerByte(small, heldOut) };
  const sizes = [model, small].map(({ decoder }) => models.countParameters(decoder.config).total.toLocaleString('en'));
  console.log(
    `pruned from ${sizes[0]} to ${sizes[1]} parameters: ${cost.before.toFixed(3)} bits per byte before, ${cost.after.toFixed(3)} after`,
  );

  const same = await survivesSaving(small, join(options.output, 'pruned'));
  console.log(`saved and loaded: ${same ? 'the same to the bit' : 'different'}`);
  const report = await reportRouting(model, routing, join(options.output, 'routing'), options.data);
  console.log(`routing report: ${report}`);
  model.dispose();
  small.dispose();
  return { loss, cost, same, report };
}

function percent(shares) {
  return shares.map((share) => `${(100 * share).toFixed(0)} %`).join(', ');
}

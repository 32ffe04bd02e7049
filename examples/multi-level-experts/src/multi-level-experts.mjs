import { join } from 'node:path';
import { reportRouting, routeRows, sample, survivesSaving, trainPreset } from '@therapeutic-moe/example-train-a-preset';
import { attention, experts } from 'therapeutic-moe';

const DEVICES = 4;

/** Longer than the window of the fine level, so that the coarse ones have something to bring. */
const rows = { batchSize: 4, sequenceLength: 128 };

/** Trains the multi-level preset and plans its experts onto devices, uniformly and by measured load. */
export async function run(options) {
  const { model, heldOut, loss } = await trainPreset('multi-level', { ...rows, ...options });
  const { maxPositionEmbeddings: longest, attention: levels } = model.decoder.config;
  const costs = [options.sequenceLength ?? rows.sequenceLength, longest].map((tokens) => tellCost(tokens, levels));
  console.log(`attention: ${costs.join('; ')}`);
  console.log(`sample: ${await sample(model, 'The model')}`);

  const routing = await routeRows(model, heldOut);
  const { load } = routing;
  const plans = await planPlacement(model, heldOut, load);
  for (const [layer, { uniform, byLoad, traffic }] of plans.entries()) {
    const held = byLoad.expertsOf.map((own) => own.join(' ')).join(' | ');
    const kilobytes = Math.round(Math.max(...byLoad.bytes) / 1024);
    console.log(
      `layer ${layer}: experts ${held}; busiest device ${byLoad.imbalance.toFixed(2)} times an even share (uniform ${uniform.imbalance.toFixed(2)}); ${kilobytes} KiB on one device; ${(100 * traffic.localShare).toFixed(0)} % of the choices stay at home`,
    );
  }

  const same = await survivesSaving(model, join(options.output, 'copy'));
  console.log(`saved and loaded: ${same ? 'the same to the bit' : 'different'}`);
  const report = await reportRouting(model, routing, join(options.output, 'routing'), options.data);
  console.log(`routing report: ${report}`);
  model.dispose();
  return { loss, plans, same, report };
}

/** The query-key pairs of one head over so many tokens. */
function tellCost(tokens, { window, strides }) {
  const { levels, share } = attention.attentionCost(tokens, { window, strides });
  return `${tokens} tokens look at ${levels.join(' + ')} pairs, ${(100 * share).toFixed(0)} % of plain attention`;
}

/** For each layer a uniform plan and one by load, and the traffic of the second on the longest row. */
async function planPlacement(model, rows, load) {
  const longest = rows.reduce((a, b) => (b.text.length > a.text.length ? b : a));
  const { layers } = await model.trace(longest.text);
  const { hiddenSize, mixture } = model.decoder.config;
  return model.decoder.mixtures().map(({ experts: pool }, layer) => {
    const sizes = experts.expertSizes(pool);
    const devices = { devices: DEVICES };
    const uniform = experts.withLoad(experts.placeUniformly(sizes, devices), load[layer]);
    const byLoad = experts.placeByLoad(sizes, devices, load[layer]);
    const counts = experts.choicesByDevice(layers[layer].indices, mixture.numExpertsPerTok, {
      experts: mixture.numExperts,
      devices: DEVICES,
    });
    return { uniform, byLoad, traffic: experts.allToAllTraffic(byLoad, counts, 4 * hiddenSize) };
  });
}

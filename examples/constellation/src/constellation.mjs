import { join } from 'node:path';
import { reportRouting, routeRows, sample, survivesSaving, trainPreset } from '@therapeutic-moe/example-train-a-preset';

/** Trains the constellation preset and shows how its supervisor spreads the tokens over 32 experts. */
export async function run(options) {
  const { model, heldOut, loss } = await trainPreset('constellation', options);
  console.log(`sample: ${await sample(model, 'The model')}`);

  const routing = await routeRows(model, heldOut);
  const { load } = routing;
  for (const [layer, shares] of load.entries()) {
    const used = shares.filter((share) => share > 0).length;
    const busiest = Math.max(...shares);
    console.log(
      `layer ${layer}: ${used} of ${shares.length} experts are used; the busiest takes ${(100 * busiest).toFixed(1)} % of the choices, an even share is ${(100 / shares.length).toFixed(1)} %`,
    );
  }

  const same = await survivesSaving(model, join(options.output, 'copy'));
  console.log(`saved and loaded: ${same ? 'the same to the bit' : 'different'}`);
  const report = await reportRouting(model, routing, join(options.output, 'routing'), options.data);
  console.log(`routing report: ${report}`);
  model.dispose();
  return { loss, same, report };
}

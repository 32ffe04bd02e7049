import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { createExperts, createScaledExperts, HIDDEN, randomTokens } from '../test/create-pool.js';
import { distillationLoss, distillExpert, SwiGluExperts } from './index.js';

/** A teacher wider than its students. */
const createTeacher = () =>
  SwiGluExperts.create(
    { experts: 2, hidden: HIDDEN, intermediate: 7 },
    { deviation: 0.5, downDeviation: 0.5, seed: 31 },
  );

describeOnBackends('distillExpert', () => {
  it('brings the student close to a wider teacher, and changes no other expert', async () => {
    const [students, teacher, hidden] = [createExperts(3), createTeacher(), randomTokens(13)];
    const { experts, losses } = await distillExpert(
      { experts: students, expert: 1 },
      { experts: teacher, expert: 0 },
      hidden,
      {
        steps: 30,
        learningRate: 0.05,
      },
    );
    expect(losses).toHaveLength(30);
    expect(losses[29]).toBeLessThan(0.2 * losses[0]!);
    const last = tf.tidy(() => distillationLoss({ experts, expert: 1 }, hidden, teacher.applyExpert(hidden, 0)));
    expect((await last.data())[0]).toBeLessThan(losses[29]!);
    for (const [name, variable] of students.parameters()) {
      const [before, after] = [variable, experts.parameters().get(name)!].map((v) => tf.split(v as tf.Tensor, 3));
      await expectClose(after![0]!, before![0]!, 0);
      await expectClose(after![2]!, before![2]!, 0);
      tf.dispose([before!, after!]);
    }
    tf.dispose([hidden, last]);
    for (const layer of [students, teacher, experts]) layer.dispose();
  });

  it('leaves alone what all experts of the student share', async () => {
    const [students, teacher, hidden] = [createScaledExperts(3), createTeacher(), randomTokens(7)];
    const teachers = { experts: teacher, expert: 0 };
    const options = { steps: 5, learningRate: 0.05 };
    const { experts, losses } = await distillExpert({ experts: students, expert: 1 }, teachers, hidden, options);
    expect(losses[4]).toBeLessThan(losses[0]!);
    await expectClose(experts.parameters().get('scale')!, students.scale, 0);
    hidden.dispose();
    for (const layer of [students, teacher, experts]) layer.dispose();
  });

  it('leaves the student it was given as it was, and nothing behind', async () => {
    const [students, teacher, hidden] = [createExperts(3), createTeacher(), randomTokens(7)];
    const weights = () => Promise.all([...students.parameters().values()].map(async (v) => [...(await v.data())]));
    const before = await weights();
    await expectNoLeak(async () => {
      const options = { steps: 2, learningRate: 0.1 };
      const distilled = await distillExpert(
        { experts: students, expert: 2 },
        { experts: teacher, expert: 1 },
        hidden,
        options,
      );
      distilled.experts.dispose();
    });
    expect(await weights()).toEqual(before);
    hidden.dispose();
    for (const layer of [students, teacher]) layer.dispose();
  });

  it('refuses to go on from a loss that is not a number', async () => {
    const [experts, hidden] = [createExperts(2), tf.fill<tf.Rank.R2>([2, HIDDEN], Number.NaN)];
    const before = tf.memory().numTensors;
    await expect(
      distillExpert({ experts, expert: 0 }, { experts, expert: 1 }, hidden, { steps: 2, learningRate: 0.1 }),
    ).rejects.toThrow('distillExpert: the loss before step 1 is NaN; lower learningRate or check hidden.');
    expect(tf.memory().numTensors).toBe(before);
    hidden.dispose();
    experts.dispose();
  });

  it('has a loss whose gradient agrees with central differences', async () => {
    const [experts, hidden, target] = [createExperts(2), randomTokens(3), randomTokens(3, 37)];
    await expectGradient((x) => distillationLoss({ experts, expert: 1 }, x as tf.Tensor2D, target), [hidden]);
    tf.dispose([hidden, target]);
    experts.dispose();
  });

  it('refuses strangers, other hidden sizes and settings that teach nothing', async () => {
    const [experts, hidden] = [createExperts(2), randomTokens(3)];
    const other = SwiGluExperts.create(
      { experts: 2, hidden: 3, intermediate: 2 },
      { deviation: 1, downDeviation: 1, seed: 1 },
    );
    const [student, options] = [
      { experts, expert: 0 },
      { steps: 2, learningRate: 0.1 },
    ];
    const distil = (teacher: SwiGluExperts, expert: number, changed = {}) =>
      distillExpert(student, { experts: teacher, expert }, hidden, { ...options, ...changed });
    await expect(distil(experts, 2)).rejects.toThrow(
      'distillExpert: teacher: there is no expert 2; experts are 0 to 1.',
    );
    await expect(distil(other, 0)).rejects.toThrow("the teacher's hidden size is 3, the student's 5");
    await expect(distil(experts, 1, { steps: 0 })).rejects.toThrow('steps must be 1 or more, got 0');
    await expect(distil(experts, 1, { learningRate: 0 })).rejects.toThrow('learningRate must be above 0, got 0');
    hidden.dispose();
    experts.dispose();
    other.dispose();
  });
});

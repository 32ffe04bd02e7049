import * as tf from '@tensorflow/tfjs-core';
import { dispatchRows } from '@therapeutic-moe/kernels';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import type { ExpertRows } from './experts.js';
import { blocksOnDevice, blocksOnHost } from './sequence-blocks.js';

const EXPERTS = 3;
const SEQUENCES = { batch: 2, seq: 5 };
const TOKENS = 10;

/** Expert 0 has tokens of both sequences, expert 1 none, expert 2 of one; two rows of each are empty. */
const tokensOfRows = [0, 1, 4, 5, 9, 10, 10, 10, 10, 10, 10, 10, 10, 10, 6, 7, 8, 9, 10, 10, 10];
const groupsOfRows = [0, 1, 2].flatMap((e) => new Array<number>(7).fill(e));

function rowsToLayOut(): ExpertRows {
  return {
    offsets: [0, 7, 14, 21],
    tokenOfRow: tf.tensor1d(tokensOfRows, 'int32'),
    groupOfRow: tf.tensor1d(groupsOfRows, 'int32'),
    tokens: TOKENS,
  };
}

describeOnBackends('sequenceBlocks', (backend) => {
  const onHost = () => blocksOnHost(rowsToLayOut(), SEQUENCES);
  const onDevice = () => blocksOnDevice(rowsToLayOut(), EXPERTS, SEQUENCES);
  const forms =
    backend === 'webgpu' ? { 'on the device': onDevice } : { 'on the host': onHost, 'on the device': onDevice };

  for (const [form, layOut] of Object.entries(forms)) {
    it(`puts each expert's tokens of a sequence into one block, in order, padded at the end: ${form}`, async () => {
      const { blocks, length, toBlocks, toRows } = layOut();
      const rows = tf.tensor2d(tokensOfRows.map((token, row) => [token === TOKENS ? 7 : row + 1]));
      const laidOut = dispatchRows(rows, toBlocks);
      const slots = [...(await laidOut.data())];
      const filled = Array.from({ length: blocks }, (_, b) => slots.slice(b * length, (b + 1) * length))
        .filter((block) => block.some((row) => row > 0))
        .map((block) => block.slice(0, block.findLastIndex((row) => row > 0) + 1));
      expect(filled).toEqual([[1, 2, 3], [4, 5], [15, 16, 17, 18]]); // biome-ignore format: blocks
      const back = dispatchRows(laidOut, toRows);
      await expectClose(
        back,
        tokensOfRows.map((token, row) => (token === TOKENS ? 0 : row + 1)),
        0,
      );
      tf.dispose([rows, laidOut, back]);
    });

    it(`leaves nothing behind: ${form}`, async () => {
      await expectNoLeak(() => tf.tidy(() => void layOut()));
    });
  }

  it.skipIf(backend === 'webgpu')('is as small as the rows allow where they can be read', () => {
    tf.tidy(() => {
      const { blocks, length } = onHost();
      expect([blocks, length]).toEqual([3, 4]);
    });
  });

  it('is never longer than a sequence', () => {
    tf.tidy(() => {
      const { blocks, length } = onDevice();
      expect([blocks, length]).toEqual([6, 5]);
    });
  });
});

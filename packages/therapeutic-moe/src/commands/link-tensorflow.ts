import { linkTensorflow } from '@therapeutic-moe/backend/link-tensorflow';
import { defineCommand } from 'citty';
import { errorLogger } from './model-options.js';

/** Builds tfjs-node against a TensorFlow installed by pip. */
export const linkTensorflowCommand = defineCommand({
  meta: { name: 'link-tensorflow', description: "Build tfjs-node's addon against a TensorFlow that pip installed." },
  args: {
    tensorflow: {
      type: 'string',
      description: "pip's tensorflow folder or an unzipped wheel; default: looked for",
      valueHint: 'DIR',
    },
    directory: { type: 'string', description: 'folder whose node_modules has @tensorflow/tfjs-node', valueHint: 'DIR' },
  },
  async run({ args }) {
    const linked = await linkTensorflow({
      tensorflowDirectory: args.tensorflow,
      directory: args.directory,
      logger: errorLogger,
    });
    console.log(JSON.stringify(linked));
  },
});

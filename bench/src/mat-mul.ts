import type { Case, Comparison, Lab } from './comparison.js';

/** A product to time, in words that Node and Python both understand. Forward only, unless it says otherwise. */
export type Product =
  | {
      readonly kind: 'mat-mul';
      readonly batch: number;
      readonly m: number;
      readonly k: number;
      readonly n: number;
      readonly transposeA: boolean;
      readonly transposeB: boolean;
    }
  | {
      readonly kind: 'grouped';
      readonly rows: number;
      readonly experts: number;
      readonly k: number;
      readonly n: number;
    }
  | {
      readonly kind: 'attention';
      readonly batch: number;
      readonly seq: number;
      readonly heads: number;
      readonly headDim: number;
      readonly backward: boolean;
    };

const plain = { kind: 'mat-mul', batch: 1, transposeA: false, transposeB: false } as const;
const attention = { kind: 'attention', batch: 8, seq: 256, heads: 4, headDim: 64 } as const;

const products: Readonly<Record<string, Product>> = {
  'matMul 512 x 512 x 512': { ...plain, m: 512, k: 512, n: 512 },
  'matMul 2048 x 256 x 1024': { ...plain, m: 2048, k: 256, n: 1024 },
  'matMul 2048 x 1024 x 256, b transposed': { ...plain, m: 2048, k: 1024, n: 256, transposeB: true },
  'matMul 256 x 2048 x 1024, a transposed': { ...plain, m: 256, k: 2048, n: 1024, transposeA: true },
  'matMul 32 of 256 x 64 x 256, b transposed': { ...plain, batch: 32, m: 256, k: 64, n: 256, transposeB: true },
  'matMul 1 x 256 x 1024': { ...plain, m: 1, k: 256, n: 1024 },
  'groupedMatMul 4096 rows, 4 experts, 256 x 1024': { kind: 'grouped', rows: 4096, experts: 4, k: 256, n: 1024 },
  'causal attention B8 T256 H4 D64': { ...attention, backward: false },
  'causal attention B8 T256 H4 D64, forward and backward': { ...attention, backward: true },
};

/** Single products: ours, the kernels that TensorFlow.js ships, and PyTorch. */
export const matMul: Comparison = {
  name: 'mat-mul',
  about: 'single products: matMul, groupedMatMul and attention, against stock tfjs-wasm and PyTorch',
  async cases(lab) {
    const backends = await lab.backends();
    return backends.flatMap((backend) =>
      Object.entries(products).map(([name, product]) => compare(lab, backend, name, product)),
    );
  },
};

function compare(lab: Lab, backend: string, name: string, product: Product): Case {
  const { repeats } = lab;
  const node = (on: string) => () => lab.node('product', { product, backend: on, repeats });
  const torch = { name: 'torch', measure: () => lab.python('product', { product, backend, repeats }) };
  const stock = { name: 'tfjs-wasm', measure: node('stock-wasm') };
  return { case: name, backend, ours: node(backend), peers: backend === 'wasm' ? [stock, torch] : [torch] };
}

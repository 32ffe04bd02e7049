/** Numbers of workgroups in x, y and z. */
export type Workgroups = readonly [number, number, number];

/** Threads of a workgroup that goes over numbers or a row: two warps; 256 numbers are one vector of four for each. */
export const THREADS = 64;

/** WebGPU's bound on each dimension; every device has at least this. */
const MAX_WORKGROUPS = 65535;

/** Lays `count` workgroups out in two dimensions where one is too short; the last ones may lie past the count. */
export function inLine(count: number): Workgroups {
  const lines = Math.max(1, Math.ceil(count / MAX_WORKGROUPS));
  return [Math.ceil(count / lines), lines, 1];
}

/** One thread for each of `count` numbers. */
export function threadsFor(count: number): Workgroups {
  return inLine(Math.ceil(count / THREADS));
}

/** WGSL: the head of `main` for a launch by `inLine`. `group` is the workgroup's number, `l` the thread's in it. */
export function mainOf(threads: number): string {
  return `
@compute @workgroup_size(${threads}) fn main(
  @builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) l: u32,
) {
  let group = id.y * groups.x + id.x;`;
}

/** WGSL: the same for a workgroup of `THREADS`. */
export const MAIN = mainOf(THREADS);

/** WGSL: every thread of the workgroup calls `sumOverThreads(l, mine)` and gets the sum, added in a fixed order. */
export const SUM_OVER_THREADS = `
var<workgroup> parts: array<f32, ${THREADS}>;
fn sumOverThreads(l: u32, mine: f32) -> f32 {
  parts[l] = mine;
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    if (l < half) { parts[l] += parts[l + half]; }
    workgroupBarrier();
  }
  return parts[0];
}`;

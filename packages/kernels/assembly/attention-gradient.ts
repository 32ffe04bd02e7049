import {
  BLOCK, LOG2E, multiplyPanels, packStrip, readRanges, ROW, scaleRows, STRIP, STRIP_BYTES, Strip, stripScores, TILE, unpackStrip,
} from './attention-strip';
import { copyTile, micro, packEights, packFours, transpose4 } from './gemm';
import { dot, exp2Share } from './vector';

const PANELS: i32 = TILE / 4;
/** Bytes of one panel of four keys `[queries, 4]`. */
const PANEL_BYTES: i32 = BLOCK * 16;

/** Bytes of scratch for `attentionGradient`: it does not grow with the number of keys. */
export function attentionGradientScratchBytes(headDim: i32): i32 {
  const padded = (headDim + 7) & -8;
  const strips = (BLOCK / STRIP) * (STRIP_BYTES + 3 * padded * ROW);
  const rows = 2 * BLOCK * padded * 4;
  const tiles = 3 * TILE * padded * 4 + 2 * TILE * ROW;
  return strips + rows + tiles + 2 * PANELS * PANEL_BYTES + PANELS * 8 + 4 * ROW;
}

/**
 * Gradient of `attention`, of one head, by recomputation from the log-sum-exp (FlashAttention-2, arXiv:2307.08691,
 * algorithm 2): P = exp(S - lse), dV = P^T dO, dS = P * (dO V^T - rowsum(dO * O)), dQ = scale dS K, dK = scale dS^T Q.
 * Writes all `keys` rows of `dK` and `dV`.
 */
export function attentionGradient(
  dO: usize, q: usize, k: usize, v: usize, o: usize, lse: usize, dQ: usize, dK: usize, dV: usize, first: usize,
  end: usize, queries: i32, keys: i32, qRow: i32, kRow: i32, headDim: i32, scale: f32, slope: f32, scratch: usize,
): void {
  for (let j = 0; j < keys; j++) {
    clear(dK + ((<usize>(j * kRow)) << 2), headDim);
    clear(dV + ((<usize>(j * kRow)) << 2), headDim);
  }
  for (let i = 0; i < queries; i += BLOCK) {
    const at = (<usize>i) << 2;
    const row = at * <usize>qRow;
    blockGradient(
      dO + row, q + row, k, v, o + row, lse + at, dQ + row, dK, dV, first + at, end + at, min(BLOCK, queries - i), qRow,
      kRow, headDim, scale, slope, scratch,
    );
  }
}

function blockGradient(
  dO: usize, q: usize, k: usize, v: usize, o: usize, lse: usize, dQ: usize, dK: usize, dV: usize, first: usize,
  end: usize, queries: i32, qRow: i32, kRow: i32, headDim: i32, scale: f32, slope: f32, scratch: usize,
): void {
  const qStride = (<usize>qRow) << 2;
  const kStride = (<usize>kRow) << 2;
  const strips = (queries + STRIP - 1) / STRIP;
  const padded = (headDim + 7) & -8;
  const stripBytes = <usize>(padded * ROW);
  const columnsQ = scratch + <usize>(strips * STRIP_BYTES); // [strips][headDim, 8]
  const columnsDO = columnsQ + <usize>strips * stripBytes;
  const columnsDQ = columnsDO + <usize>strips * stripBytes;
  const rowsQ = columnsDQ + <usize>strips * stripBytes; // [headDim / 8][queries, 8]
  const rowsDO = rowsQ + <usize>strips * stripBytes;
  const keysOfK = rowsDO + <usize>strips * stripBytes; // [keys / 4][headDim, 4]
  const keysOfV = keysOfK + <usize>(TILE * padded * 4);
  const dimsOfK = keysOfV + <usize>(TILE * padded * 4); // [headDim / 4][keys, 4]
  const shares = dimsOfK + <usize>(TILE * padded * 4); // [keys, 8]
  const dScores = shares + <usize>(TILE * ROW);
  const panelsP = dScores + <usize>(TILE * ROW); // [keys / 4][queries, 4]
  const panelsDS = panelsP + <usize>(PANELS * PANEL_BYTES);
  const spans = panelsDS + <usize>(PANELS * PANEL_BYTES); // [keys / 4][2]: the strips that see the panel
  const rowsBytes = <usize>(strips * STRIP * ROW); // of one panel of eight dimensions
  let from = i32.MAX_VALUE;
  let to = 0;
  for (let s = 0; s < strips; s++) {
    const strip = changetype<Strip>(scratch + <usize>(s * STRIP_BYTES));
    const i = s * STRIP;
    const count = min(STRIP, queries - i);
    const row = <usize>i * qStride;
    readRanges(strip, first + ((<usize>i) << 2), end + ((<usize>i) << 2), count);
    packStrip(q + row, qStride, count, headDim, scale * LOG2E, columnsQ + <usize>s * stripBytes);
    packStrip(dO + row, qStride, count, headDim, 1, columnsDO + <usize>s * stripBytes);
    readSums(strip, dO + row, o + row, qStride, lse + ((<usize>i) << 2), count, headDim);
    from = min(from, strip.low);
    to = max(to, strip.high);
  }
  packRows(q, qStride, queries, headDim, scale, rowsQ, rowsBytes);
  packRows(dO, qStride, queries, headDim, 1, rowsDO, rowsBytes);
  memory.fill(columnsDQ, 0, <usize>strips * stripBytes);
  for (let j = from; j < to; j += TILE) {
    const keys = min(TILE, to - j);
    packFours(k + <usize>j * kStride, kStride, 4, keys, headDim, keysOfK);
    packFours(v + <usize>j * kStride, kStride, 4, keys, headDim, keysOfV);
    packFours(k + <usize>j * kStride, 4, kStride, headDim, keys, dimsOfK);
    const panels = (keys + 3) >> 2;
    clearSpans(spans, panels);
    for (let s = 0; s < strips; s++) {
      const strip = changetype<Strip>(scratch + <usize>(s * STRIP_BYTES));
      const low = (max(strip.low, j) - j) & -4;
      const high = max(min(strip.high, j + keys) - j, low);
      const rows = (high - low + 3) & -4;
      const columns = <usize>s * stripBytes;
      const place = <usize>(s * STRIP * 16);
      zeroPanels(panelsP + place, panelsDS + place, 0, min(low >> 2, panels));
      zeroPanels(panelsP + place, panelsDS + place, (low + rows) >> 2, panels);
      if (rows == 0) continue;
      const skip = (<usize>(low * headDim)) << 2;
      stripScores(strip, columnsQ + columns, keysOfK + skip, headDim, j + low, rows, slope, shares);
      multiplyPanels(keysOfV + skip, (<usize>headDim) << 4, rows, headDim, columnsDO + columns, dScores, false);
      const panel = <usize>((low >> 2) * PANEL_BYTES) + place;
      scoreGradients(strip, shares, dScores, rows, panelsP + panel, panelsDS + panel);
      multiplyPanels(
        dimsOfK + ((<usize>low) << 4), (<usize>keys) << 4, headDim, high - low, dScores, columnsDQ + columns, true,
      );
      widenSpans(spans, low >> 2, (low + rows) >> 2, s);
    }
    const skip = <usize>j * kStride;
    addProducts(panelsP, rowsDO, rowsBytes, spans, keys, headDim, dV + skip, kStride, shares);
    addProducts(panelsDS, rowsQ, rowsBytes, spans, keys, headDim, dK + skip, kStride, shares);
  }
  for (let s = 0; s < strips; s++) {
    const i = s * STRIP;
    const columns = columnsDQ + <usize>s * stripBytes;
    scaleRows(columns, headDim, f32x4.splat(scale), f32x4.splat(scale));
    unpackStrip(columns, headDim, min(STRIP, queries - i), dQ + <usize>i * qStride, qStride);
  }
}

/** x [n] = 0. `memory.fill` leaves the module for the engine's own, which costs more than a short row. */
// @ts-ignore: decorator
@inline
function clear(x: usize, n: i32): void {
  let j = 0;
  for (; j + 4 <= n; j += 4) v128.store(x + ((<usize>j) << 2), f32x4.splat(0));
  for (; j < n; j++) store<f32>(x + ((<usize>j) << 2), 0);
}

/** The log-sum-exp in base 2 and dO . O of each query; lanes without a query have neither. */
function readSums(strip: Strip, dO: usize, o: usize, stride: usize, lse: usize, count: i32, headDim: i32): void {
  const at = changetype<usize>(strip);
  for (let i = 0; i < STRIP; i++) {
    const lane = (<usize>i) << 2;
    const row = <usize>i * stride;
    store<f32>(at + lane, i < count ? load<f32>(lse + lane) * LOG2E : 0, offsetof<Strip>('top0'));
    store<f32>(at + lane, i < count ? dot(dO + row, o + row, headDim) : 0, offsetof<Strip>('sum0'));
  }
}

/** Packs rows into panels of eight dimensions, each `[queries, 8]` times `scale`, filled up with zeros to whole strips. */
function packRows(x: usize, stride: usize, queries: i32, headDim: i32, scale: f32, out: usize, panelBytes: usize): void {
  const bytes = <usize>(queries * ROW);
  const scales = f32x4.splat(scale);
  for (let d = 0; d < headDim; d += 8) {
    packEights(x + ((<usize>d) << 2), 4, stride, min(8, headDim - d), queries, out);
    for (let p = out; p < out + bytes; p += 16) v128.store(p, f32x4.mul(v128.load(p), scales));
    for (let p = out + bytes; p < out + panelBytes; p += 16) v128.store(p, f32x4.splat(0));
    out += panelBytes;
  }
}

/**
 * P = exp(S - lse) and dS = P * (dP - dO . O) of `rows` keys; `dScores` holds dP and then dS, and both are laid out again
 * in panels of four keys.
 */
// @ts-ignore: decorator
@inline
function scoreGradients(strip: Strip, scores: usize, dScores: usize, rows: i32, panelP: usize, panelDS: usize): void {
  const top0 = strip.top0;
  const top1 = strip.top1;
  const sum0 = strip.sum0;
  const sum1 = strip.sum1;
  const bytes = <usize>rows * ROW;
  for (let o: usize = 0; o < bytes; o += ROW) {
    const share0 = exp2Share(f32x4.sub(v128.load(scores + o), top0));
    const share1 = exp2Share(f32x4.sub(v128.load(scores + o, 16), top1));
    v128.store(scores + o, share0);
    v128.store(scores + o, share1, 16);
    v128.store(dScores + o, f32x4.mul(share0, f32x4.sub(v128.load(dScores + o), sum0)));
    v128.store(dScores + o, f32x4.mul(share1, f32x4.sub(v128.load(dScores + o, 16), sum1)), 16);
  }
  for (let o: usize = 0; o < bytes; o += 4 * ROW) {
    transposeStrip(scores + o, panelP);
    transposeStrip(dScores + o, panelDS);
    panelP += PANEL_BYTES;
    panelDS += PANEL_BYTES;
  }
}

/** Four rows of eight to eight rows of four. */
// @ts-ignore: decorator
@inline
function transposeStrip(x: usize, out: usize): void {
  transpose4(v128.load(x), v128.load(x, ROW), v128.load(x, 2 * ROW), v128.load(x, 3 * ROW), out, 16);
  transpose4(
    v128.load(x, 16), v128.load(x, ROW + 16), v128.load(x, 2 * ROW + 16), v128.load(x, 3 * ROW + 16), out + 64, 16,
  );
}

/** The strip's part of the panels from `from` to `to`, which it does not see. */
// @ts-ignore: decorator
@inline
function zeroPanels(panelP: usize, panelDS: usize, from: i32, to: i32): void {
  for (let p = from; p < to; p++) {
    const o = <usize>(p * PANEL_BYTES);
    for (let i: usize = 0; i < <usize>(STRIP * 16); i += 16) {
      v128.store(panelP + o + i, f32x4.splat(0));
      v128.store(panelDS + o + i, f32x4.splat(0));
    }
  }
}

function clearSpans(spans: usize, panels: i32): void {
  for (let p = 0; p < panels; p++) store<i64>(spans + ((<usize>p) << 3), 0);
}

/** Strip `s`, later than all before it, sees the panels from `from` to `to`. */
// @ts-ignore: decorator
@inline
function widenSpans(spans: usize, from: i32, to: i32, s: i32): void {
  for (let p = from; p < to; p++) {
    const span = spans + ((<usize>p) << 3);
    if (load<i32>(span, 4) == 0) store<i32>(span, s);
    store<i32>(span, s + 1, 4);
  }
}

/** out [keys, headDim] += panels^T rows, over the queries of the strips that see a panel. `tile` is room for 4 x 8. */
// @ts-ignore: decorator
@inline
function addProducts(
  panels: usize, rows: usize, rowsBytes: usize, spans: usize, keys: i32, headDim: i32, out: usize, stride: usize,
  tile: usize,
): void {
  for (let d = 0; d < headDim; d += 8) {
    for (let j = 0; j < keys; j += 4) {
      const span = spans + ((<usize>j) << 1);
      const from = load<i32>(span) * STRIP;
      const depth = load<i32>(span, 4) * STRIP - from;
      if (depth == 0) continue;
      const a = panels + <usize>((j >> 2) * PANEL_BYTES) + ((<usize>from) << 4);
      const b = rows + <usize>from * ROW;
      const target = out + <usize>j * stride + ((<usize>d) << 2);
      if (keys - j >= 4 && headDim - d >= 8) {
        micro(depth, a, b, target, stride, true);
      } else {
        micro(depth, a, b, tile, ROW, false);
        copyTile(tile, target, stride, min(4, keys - j), min(8, headDim - d), true);
      }
    }
    rows += rowsBytes;
  }
}

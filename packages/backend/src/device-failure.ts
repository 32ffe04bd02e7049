/** A fault of the GPU device. WebGPU reports such faults beside the results, which are then silently wrong. */
export class DeviceFailure extends Error {
  override readonly name = 'DeviceFailure';
}

let failure: DeviceFailure | undefined;

/**
 * Remembers the first fault of the device in use, so that the next use can throw it.
 *
 * @param message what the device reported.
 */
export function recordDeviceFailure(message: string): void {
  failure ??= new DeviceFailure(
    `webgpu: the device reported an error, so results since then cannot be trusted: ${message.trim()} ` +
      `Call useBackend('webgpu') for a new device, or useBackend('wasm').`,
  );
}

/** Forgets the recorded fault; a new device starts without one. */
export function clearDeviceFailure(): void {
  failure = undefined;
}

/**
 * Throws the first fault the GPU device has reported since it was made. Reading a tensor on `webgpu` does this by
 * itself; call it after work that reads nothing.
 *
 * @throws DeviceFailure when the device has reported a fault.
 */
export function throwIfDeviceFailed(): void {
  if (failure) throw failure;
}

export type { BackendChoice, BackendName, BackendReport, Logger, UseBackendOptions } from './backend-report.js';
export { DeviceFailure, throwIfDeviceFailed } from './device-failure.js';
export { useBackend } from './use-backend.js';
export type { WebGpuDeviceReport } from './webgpu-device.js';

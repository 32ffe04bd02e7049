/** Sampling that suits the small demonstration model: cool, and discouraged from repeating itself. */
export const chatDefaults = { temperature: 0.6, topP: 0.9, topK: 40, repetitionPenalty: 1.15, maxTokens: 160 };

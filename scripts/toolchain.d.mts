/** The repository root. */
export declare const root: string;
/** The folder for tools that are not workspace dependencies; ignored by git. */
export declare const toolsDirectory: string;

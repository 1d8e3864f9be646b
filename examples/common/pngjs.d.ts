/** The part of pngjs 7 that is used; the package has no types of its own. */
declare module 'pngjs' {
  export class PNG {
    constructor(options: { width: number; height: number });
    width: number;
    height: number;
    /** RGBA, a byte each. */
    data: Uint8Array;
    static sync: { read(bytes: Uint8Array): PNG; write(png: PNG): Uint8Array };
  }
}

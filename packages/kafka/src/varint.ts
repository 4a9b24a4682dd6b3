/** Kafka's varints: zigzag-coded, seven bits a byte. Those that are written are lengths, counts and deltas, far below 2^31. */
const zigzagOf = (value: number): number => ((value << 1) ^ (value >> 31)) >>> 0;

/** The bytes that a number takes. */
export function sizeOfVarint(value: number): number {
  const zigzag = zigzagOf(value);
  return zigzag < 0x80 ? 1 : zigzag < 0x4000 ? 2 : zigzag < 0x20_0000 ? 3 : zigzag < 0x1000_0000 ? 4 : 5;
}

/** Writes a number. @returns where it ends. */
export function writeVarint(target: Buffer, at: number, value: number): number {
  let zigzag = zigzagOf(value);
  while (zigzag >= 0x80) {
    target[at++] = (zigzag & 0x7f) | 0x80;
    zigzag >>>= 7;
  }
  target[at++] = zigzag;
  return at;
}

/** Reads on and on. */
export class Cursor {
  at: number;
  readonly #buffer: Buffer;

  constructor(buffer: Buffer, at: number) {
    this.#buffer = buffer;
    this.at = at;
  }

  varint(): number {
    let byte = this.#buffer[this.at++] as number;
    let zigzag = byte & 0x7f;
    // By multiplication: beyond 32 bits, shifting would cut.
    for (let scale = 0x80; byte >= 0x80; scale *= 0x80) {
      byte = this.#buffer[this.at++] as number;
      zigzag += (byte & 0x7f) * scale;
    }
    return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
  }

  /** A length and so many bytes, of the same memory; null where the length says so. */
  bytes(): Buffer | null {
    const length = this.varint();
    if (length < 0) return null;
    this.at += length;
    return this.#buffer.subarray(this.at - length, this.at);
  }

  /** Passes over a length and so many bytes. */
  skip(): this {
    const length = this.varint();
    if (length > 0) this.at += length;
    return this;
  }

  /** Passes over a text. @returns whether it was this one. */
  skipsName(name: string): boolean {
    const length = this.varint();
    const start = this.at;
    this.at += length;
    if (length !== name.length) return false;
    for (let i = 0; i < length; i += 1) if (this.#buffer[start + i] !== name.charCodeAt(i)) return false;
    return true;
  }
}

const FIRST_BYTES = 1 << 20;

/** Text that grows, in memory of its own. */
export class Lines {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #end = 0;

  add(...parts: readonly Buffer[]): void {
    for (const part of parts) {
      if (this.#end + part.length > this.#bytes.length) this.#grow(this.#end + part.length);
      this.#end += part.copy(this.#bytes, this.#end);
    }
  }

  get length(): number {
    return this.#end;
  }

  get text(): Buffer {
    return this.#bytes.subarray(0, this.#end);
  }

  #grow(least: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(least, this.#bytes.length * 2));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}

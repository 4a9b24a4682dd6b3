/**
 * What the generator refuses, in words for the person who ran it.
 * - `NAME_INVALID`: not kebab-case, or too long. - `NAME_RESERVED`, `NAME_TAKEN`: choose another one. - `MODULE_UNKNOWN`: no file of packages/modules defines it.
 */
export class GeneratorError extends Error {
  constructor(message, code) {
    super(message);
    this.name = 'GeneratorError';
    this.code = code;
  }
}

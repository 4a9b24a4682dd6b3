import { hash } from 'node:crypto';

/**
 * The hash of an observed content: SHA-256 over coverage id and canonical fields, cut to 128 bits, 32 lower-case hex digits.
 * Same content, same hash, from whichever source it came.
 * @param coverageId names the fields, so that equal values of other fields are another content.
 * @param fieldsJson `JSON.stringify` of the canonical values in coverage order.
 */
export const contentHash = (coverageId: string, fieldsJson: string): string => hash('sha256', coverageId + fieldsJson).slice(0, 32);

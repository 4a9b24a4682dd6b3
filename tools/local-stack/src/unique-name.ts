import { randomBytes } from 'node:crypto';

/** A name that nothing else uses, for a topic, a consumer group or a database: `<prefix>_<12 hexadecimal digits>`. */
export const uniqueName = (prefix: string): string => `${prefix}_${randomBytes(6).toString('hex')}`;

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the checkout. */
export const checkoutDir: string = join(dirname(fileURLToPath(import.meta.url)), '../../..');

/** Where compiled code is kept, which spares the TypeScript parser at the next start of a process. */
export const compileCache: string = join(checkoutDir, 'node_modules/.cache/lockstep');

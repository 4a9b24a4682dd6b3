export { parseEnv } from './parse-env.ts';

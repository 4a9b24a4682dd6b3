import { describeStores } from './contracts/stores-contract.ts';
import { memoryStores } from './memory-stores.ts';

const EPSILON_MS = 60_000;

describeStores('in memory', EPSILON_MS, async () => memoryStores(EPSILON_MS));

import { setTimeout as sleep } from 'node:timers/promises';

import { type ModuleDefinition, topicOf } from '@lockstep/modules';
import { watermarks } from '@lockstep/postgres';
import { extendLogIndex } from '@lockstep/rebuild';

import type { LeaderDeps } from './leader.ts';
import { restingFor } from './resting.ts';

/** Keeps the index of each module's log up to date, slowly: with it a record's history is read in a moment. */
export async function indexLogs({ db, kafka, admin, modules, signal, log }: Pick<LeaderDeps, 'db' | 'kafka' | 'admin' | 'modules' | 'signal' | 'log'>): Promise<void> {
  for (const module of modules) {
    try {
      if (await isLoaded(db, module)) await extendLogIndex({ pool: db.pool, kafka, admin }, topicOf(module), { breathe: restingFor((ms) => sleep(ms, undefined, { signal })) });
    } catch (error) {
      if (signal.aborted) return;
      // One module's log that cannot be read says nothing of the others'.
      log.warn({ err: error, module: module.apiName }, 'the index of a log could not be extended; histories read more of it until it can');
    }
  }
}

/** Before that everything is busy; and the topic may not be there. */
const isLoaded = async (db: LeaderDeps['db'], { apiName }: ModuleDefinition): Promise<boolean> => (await watermarks(db).current(apiName, 'everything')) !== null;

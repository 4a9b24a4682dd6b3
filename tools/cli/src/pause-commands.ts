import { looksDueNow, pagesDueNow, partitionStates, pauses, restartFailedLoad, restoreScanDueNow } from '@lockstep/postgres';
import type { Command } from 'commander';

import { onDatabase } from './on-database.ts';
import { asJson, print } from './output.ts';
import { environment } from './run-file.ts';
import { knownModule } from './verify.ts';

/** `pause` and `resume`: whether the log of a module is applied. */
export function addPauseCommands(program: Command): void {
  program
    .command('pause')
    .description('lets nothing more of a module be applied, within a second and across restarts, until "lockstep resume"; its log goes on filling')
    .argument('<module>', 'API name, e.g. Leads')
    .option('--reason <text>', 'why, for those who see it in "lockstep status"', '')
    .option(...asJson)
    .action(async (name: string, { reason, json }: { reason: string; json: boolean }) => {
      const { apiName } = knownModule(name);
      const isNew = await onDatabase(await environment('DATABASE_URL'), (db) => pauses(db).pause(apiName, reason));
      print(json, { module: apiName, isPaused: true, isNew }, () => `${apiName} is paused${isNew ? '' : ', and was already'}: "lockstep resume ${apiName}" lets it go on\n`);
    });

  program
    .command('resume')
    .description('lets a paused module go on from where it stands, and tries at once what waits for its next attempt: halted partitions, pages, records kept aside, a first load that failed, a scan for restores that failed')
    .argument('<module>', 'API name, e.g. Leads')
    .option(...asJson)
    .action(async (name: string, { json }: { json: boolean }) => {
      const { apiName } = knownModule(name);
      const { wasPaused, halted, pages, looks, isLoadRestarted, isScanDue } = await onDatabase(await environment('DATABASE_URL'), async (db) => ({
        wasPaused: await pauses(db).resume(apiName),
        halted: await partitionStates(db).wantTried(apiName),
        pages: await pagesDueNow(db, apiName),
        looks: await looksDueNow(db, apiName),
        isLoadRestarted: await restartFailedLoad(db, apiName),
        isScanDue: await restoreScanDueNow(db, apiName),
      }));
      print(json, { module: apiName, isPaused: false, wasPaused, haltedPartitions: halted, pagesRequested: pages, looks, isLoadRestarted, isScanDue }, () => `${[`${apiName} ${wasPaused ? 'goes on' : 'was not paused'}`, ...triedText(halted, 'halted partition'), ...triedText(pages, 'page of a bulk run'), ...triedText(looks, 'record kept aside'), ...triedText(isLoadRestarted ? 1 : 0, 'first load'), ...triedText(isScanDue ? 1 : 0, 'scan for restores')].join('; ')}\n`);
    });
}

const triedText = (count: number, what: string): string[] => (count === 0 ? [] : [`${count} × ${what}: tried again at once`]);

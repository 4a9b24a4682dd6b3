import type { ModuleDefinition } from '@lockstep/modules';
import type { AppliedMapping, MappingPlan } from '@lockstep/rebuild';

import { verificationText } from './verify.ts';

const number = new Intl.NumberFormat('en-US');
const most = (shown: number, all: number): string[] => (all > shown ? [`  … ${number.format(all - shown)} more: --limit names more`] : []);

/** What a changed definition would do, for people. */
export function planText(plan: MappingPlan): string {
  const { module, isKnown, isChange, onDelete, missing, retyped, faults, rows, columns, found, added, removed, marked, others, unfit, unfitCount, parked } = plan;
  const counts = Object.entries(columns).filter(([, count]) => count > 0);
  return [
    `${module}: ${isChange ? 'the table is not filled by this definition' : 'the table is filled by this definition: nothing would change'}`,
    ...(isKnown ? [] : ['what it was filled by is not known, so all of it was compared']),
    ...plan.changes.map(changeText),
    ...(onDelete === null ? [] : [`deleted records: ${policyText(onDelete.from)} → ${policyText(onDelete.to)}`]),
    ...(missing.length + retyped.length === 0 ? [] : ['the table first needs:', ...[...missing, ...retyped].map(({ ddl }) => `  ${ddl};`), ...renames(plan)]),
    ...faults.map((fault) => `the table does not fit: ${fault}`),
    ...(rows === 0 ? [] : [`${number.format(rows)} rows would change: ${counts.map(([column, count]) => `${column} ${number.format(count)}`).join(', ')}`]),
    ...found.flatMap(({ id, values }) => values.map(({ column, inTable, byLog, partition, offset }) => `  ${id}  ${column} ${JSON.stringify(inTable)} → ${JSON.stringify(byLog)}, by ${partition}/${offset}`)),
    ...most(found.length, rows),
    ...(added + removed + marked === 0 ? [] : [`rows that would be written: ${number.format(added)}, removed: ${number.format(removed)}, marked otherwise: ${number.format(marked)}`]),
    ...others.map(({ id, kind }) => `  ${id}  ${{ 'row missing': 'would be written', 'row too many': 'would be removed' }[kind as string] ?? 'would be marked otherwise'}`),
    ...(unfitCount === 0 ? [] : [`${number.format(unfitCount)} contents would not fit; their rows would be left as they are:`, ...unfit.map((one) => `  ${one.id}  at ${one.partition}/${one.offset}: ${one.cause}`), ...most(unfit.length, unfitCount)]),
    ...(parked === 0 ? [] : [`${number.format(parked)} parked messages would be tried again`]),
    ...(isChange && faults.length + missing.length === 0 ? [`"lockstep apply ${module.toLowerCase()}" does it`] : []),
    '',
  ].join('\n');
}

/** A field that moves to a column that is missing: the former column may be renamed instead. */
function renames({ missing, changes }: MappingPlan): string[] {
  return missing.flatMap(({ column, ddl }) => {
    const field = changes.find((one) => one.change === 'mapped' && one.column === column)?.to?.field;
    const former = changes.find((one) => one.change === 'unmapped' && one.from?.field === field)?.column;
    return field === undefined || former === undefined ? [] : [`or, where ${former} is to have another name: ${ddl.slice(0, ddl.indexOf(' add column '))} rename column "${former}" to "${column}";`];
  });
}

function changeText({ column, change, from, to }: MappingPlan['changes'][number]): string {
  switch (change) {
    case 'mapped':
      return `${column}: mapped now, from ${to?.field}`;
    case 'unmapped':
      return `${column}: mapped no more (${from?.field}); it is left as it stands`;
    case 'changed':
      return `${column}: ${describe(from)} → ${describe(to)}`;
  }
}

const describe = (mapping: MappingPlan['changes'][number]['to']): string =>
  mapping === null ? '-' : [mapping.field, mapping.kind, mapping.type, mapping.onExcessScale && `onExcessScale ${mapping.onExcessScale}`, mapping.onTriggerChange && `onTriggerChange ${mapping.onTriggerChange}`].filter((part) => part !== undefined).join(' ');

const policyText = (policy: ModuleDefinition['onDelete'] | null): string => (policy === null ? 'not known' : policy.action === 'mark' ? `marked in ${policy.deletedColumn}` : 'removed');

/** What was done, and the proof, for people. */
export function appliedText({ module, columns, isAdopted, rows, seconds, left, unfit, parked, isComplete, proof }: AppliedMapping): string {
  return [
    `${module}: ${number.format(rows)} rows written in ${seconds.toFixed(1)} s${columns.length === 0 ? '' : `; columns: ${columns.join(', ')}`}`,
    ...left.map(({ id, cause }) => `  ${id}  cannot be written: ${cause}`),
    ...unfit.map((one) => `  ${one.id}  left as it is; the content at ${one.partition}/${one.offset} does not fit: ${one.cause}`),
    ...(parked.tried === 0 ? [] : [`${number.format(parked.tried)} parked messages were tried again, ${number.format(parked.resolved)} are resolved`]),
    ...(isAdopted ? [`a projector that was started with the former definition writes nothing of ${module} any more: restart it with this one`] : []),
    ...(isComplete ? [] : ['not all could be written: correct what is named, and apply again']),
    ...(proof === null ? [] : [verificationText(proof).trimEnd()]),
    '',
  ].join('\n');
}

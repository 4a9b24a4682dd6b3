import { comparedText } from '../text.ts';
import { stormEnvironment, type StormResult } from './run-storm.ts';

const number = new Intl.NumberFormat('en-US');
const counted = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts).filter(([, count]) => count > 0).map(([name, count]) => `${number.format(count)} ${name.replaceAll(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`)}`).join('; ') || 'none';

const byCode = (counts: Readonly<Record<string, number>>): string => Object.entries(counts).map(([code, count]) => `${count} by ${code}`).join(', ') || 'never';

/** What is not as in production, said before the storm. */
export const stormNotice = `shortened for this run: ${Object.entries(stormEnvironment).map(([name, value]) => `${name}=${value}`).join(' ')}`;

/** A storm's result for people. */
export function stormText({ rows, values, changes, kills, ends, notifications, mishaps, freshness, parked, quietSeconds, untouched, mismatches, examples }: StormResult): string {
  return [
    '',
    `  in the CRM               ${counted(changes)}`,
    `  killed (-9)              ${counted(kills)}`,
    `  ended by themselves      ${counted(ends)}`,
    `  notifications            ${counted(notifications)}`,
    `  calls to the CRM         ${counted(mishaps)}`,
    `  freshness                read ${freshness.samples} times in ${Math.round(freshness.watchedMs / 1000)} s, every value of up to ${number.format(freshness.covered)} changed records, ${freshness.falseClaimCount} claims false`,
    `  freshness not read       while the database was down: ${byCode(freshness.whileDown)}; else: ${byCode(freshness.failed)}`,
    ...freshness.falseClaims.map((claim) => `    ${JSON.stringify(claim)}`),
    `  parked                   ${number.format(parked)}`,
    `  rows compared            ${number.format(rows)} (${number.format(values)} values, every column), ${quietSeconds} s after the storm`,
    ...comparedText({ mismatches, examples, untouched }),
    '',
  ].join('\n');
}

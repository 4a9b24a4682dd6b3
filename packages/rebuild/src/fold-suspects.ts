import { columnOf, type ModuleProjection } from '@lockstep/projection';
import type { SeenHead } from '@lockstep/record-log';
import type { PoolClient } from 'pg';

import type { ComparedLog, Suspects } from './compare-digests.ts';
import { Coverages } from './coverages.ts';
import { foldLog } from './fold-log.ts';
import type { FoldedMessage } from './partition-fold.ts';
import { quote } from './quote.ts';
import { Shadow } from './shadow.ts';

/** Above this share of buckets all records are taken: to leave out the others would cost more. */
const MOST_SUSPECT = 0.25;
const AT_ONCE = 20_000;

/** Whether so few are suspect that they have a list. */
export const areListed = ({ share }: Suspects): boolean => share <= MOST_SUSPECT;

/**
 * Folds the suspects' messages into a shadow, and lists their rows and entries in the temporary tables `suspect_key` (key) and `suspect_entry`
 * (record_id), unless nearly all are.
 * @returns the shadow, and how many records are in it.
 */
export async function foldSuspects(client: PoolClient, projection: ModuleProjection, { kafka, topic, positions, skipped, onMessages }: ComparedLog, suspects: Suspects): Promise<{ readonly shadow: Shadow; readonly inDetail: number }> {
  const shadow = await Shadow.create(client, projection);
  await listSuspects(client, projection, suspects);
  if (suspects.share === 0) return { shadow, inDetail: 0 };
  const coverages = new Coverages(projection.module);
  let won: [head: SeenHead, message: FoldedMessage][] = [];
  let [messages, inDetail] = [0, 0];
  await foldLog(kafka, topic, positions, {
    fold: {
      epsilonMs: projection.epsilonMs,
      keepsDeleted: projection.keepsDeleted,
      hasher: suspects.hasher,
      covers: (newer, older) => coverages.covers(newer, older),
      onCoverage: (coverage, fields) => coverages.declare(coverage, fields),
      onContent: (_, __, head, message) => won.push([head, message]),
      ...(areListed(suspects) ? { isWanted: suspects.includes } : {}),
    },
    skipped,
    onMessages: async (partition, count) => {
      for (const [head, message] of won) await shadow.add(partition, head, message);
      won = [];
      messages += count;
      await onMessages(messages);
    },
    onFolded: async (partition, records) => {
      await shadow.addPartition(partition, records);
      inDetail += records.size;
    },
  });
  return { shadow, inDetail };
}

async function listSuspects(client: PoolClient, { module: { slug, table, keyColumn }, table: described }: ModuleProjection, suspects: Suspects): Promise<void> {
  const { type, base } = columnOf(described, keyColumn);
  await client.query(`create temp table suspect_key (key ${type}); create temp table suspect_entry (record_id bigint)`);
  if (suspects.share === 0 || !areListed(suspects)) return;
  const [key, name] = [quote(keyColumn), `${quote(table.schema)}.${quote(table.name)}`];
  const id = base === 'numeric' ? `pg_catalog.trim_scale(${key})` : key;
  await list(`select ${id}::pg_catalog.text as id from ${name} where ${key} is not null`, 'suspect_key', type);
  // No id of the log. COPY spells some such keys in a way of its own, so that their hash here would not be the one that was compared.
  await client.query(`insert into suspect_key select ${key} from ${name} where ${key}::pg_catalog.text operator(pg_catalog.!~) '^[0-9]*$'`);
  await list(`select record_id::pg_catalog.text as id from lockstep.record_version_${slug}`, 'suspect_entry', 'bigint');
  await client.query('analyze suspect_key; analyze suspect_entry');

  async function list(query: string, target: string, as: string): Promise<void> {
    await client.query(`declare standing no scroll cursor for ${query}`);
    for (;;) {
      const { rows } = await client.query<[string]>({ text: `fetch ${AT_ONCE} from standing`, rowMode: 'array' });
      const some = rows.flatMap(([id]) => (suspects.includes(suspects.hasher.ofText(id)) ? [id] : []));
      if (some.length > 0) await client.query(`insert into ${target} select id::${as} from unnest($1::text[]) id`, [some]);
      if (rows.length < AT_ONCE) break;
    }
    await client.query('close standing');
  }
}

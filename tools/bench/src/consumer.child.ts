import { loadConsumerConfig, runConsumer } from '@lockstep/consumer';
import { leads } from '@lockstep/modules';

/* A consumer that keeps the newest content of each Lead in a table of a second database. */

const name = 'second-database';

await runConsumer({
  config: loadConsumerConfig(process.env, { name, port: 0 }),
  definition: {
    name,
    modules: [leads],
    prepare: async (transaction) => void (await transaction.query('create table if not exists second_lead (id bigint primary key, modified_ms bigint not null, fields json not null)')),
    apply: async ({ changes }, transaction) => {
      // A statement cannot touch a row twice: the last change of each record counts.
      const last = [...new Map(changes.map((change) => [change.id, change])).values()].filter(({ after }) => after !== null);
      await transaction.query(
        `insert into second_lead select * from unnest($1::bigint[], $2::bigint[], $3::json[])
         on conflict (id) do update set modified_ms = excluded.modified_ms, fields = excluded.fields`,
        [last.map(({ id }) => id), last.map(({ modifiedAt }) => modifiedAt.getTime()), last.map(({ after }) => JSON.stringify(after))],
      );
    },
  },
});

import { createAdmin, createKafka } from '@lockstep/kafka';
import { leads } from '@lockstep/modules';
import { connect } from '@lockstep/postgres';
import { ModuleProjection } from '@lockstep/projection';
import { createLogger } from '@lockstep/telemetry';

import { rebuildModule } from '../rebuild-module.ts';

/* Rebuilds Leads from a topic, in a process that may be killed. Prints how many differences are left. */

const [brokers = '', url = '', topic = ''] = process.argv.slice(2);
const db = await connect({ url, poolSize: 4 });
const kafka = createKafka({ config: { brokers: brokers.split(','), ssl: false, sasl: undefined }, clientId: 'test', log: createLogger({ app: 'test', level: 'silent', isPretty: false }) });
const admin = await createAdmin(kafka);
const { after } = await rebuildModule({ pool: db.pool, kafka, admin }, new ModuleProjection(leads, 60_000), { topic });
await admin.close();
await db.close();
process.stdout.write(String(after.found.length));

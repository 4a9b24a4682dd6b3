import { createAdmin, createKafka } from '@lockstep/kafka';
import { leads } from '@lockstep/modules';
import { connect } from '@lockstep/postgres';
import { ModuleProjection } from '@lockstep/projection';
import { createLogger } from '@lockstep/telemetry';

import { applyMapping } from './apply-mapping.ts';

/* Applies Leads, to be ended by a test in the middle. */

const [brokers = '', url = '', topic = ''] = process.argv.slice(2);
const db = await connect({ url, poolSize: 4 });
const kafka = createKafka({ config: { brokers: brokers.split(','), ssl: false, sasl: undefined }, clientId: 'test', log: createLogger({ app: 'test', level: 'silent', isPretty: false }) });
await applyMapping({ pool: db.pool, kafka, admin: await createAdmin(kafka) }, new ModuleProjection(leads, 60_000), { topic, isProven: false });
process.exit();

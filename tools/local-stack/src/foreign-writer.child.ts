import { text } from 'node:stream/consumers';

import { Kafka, logLevel } from 'kafkajs';

import type { ForeignTransaction } from './foreign-writer.ts';

/* Another application that writes to a topic in transactions, by the library as it comes; its arguments are those of `writeTransactions`. One that ends `later` is open until
   its standard input says how. */

const [brokers = '', topic = '', json = '[]'] = process.argv.slice(2);
const kafka = new Kafka({ clientId: 'foreign', brokers: brokers.split(','), logLevel: logLevel.ERROR, retry: { retries: 20 } });
const producer = kafka.producer({ transactionalId: `foreign-${process.pid}-${Date.now()}`, maxInFlightRequests: 1, idempotent: true });
await producer.connect();
for (const { end, messages } of JSON.parse(json) as (Omit<ForeignTransaction, 'end'> & { end: ForeignTransaction['end'] | 'later' })[]) {
  const transaction = await producer.transaction();
  await transaction.send({ topic, messages: messages.map((message) => ({ partition: 0, ...message })) });
  if (end === 'later') process.stdout.write('open\n');
  const last = end === 'later' ? await text(process.stdin) : end;
  if (last === 'commit') await transaction.commit();
  else await transaction.abort();
}
await producer.disconnect();

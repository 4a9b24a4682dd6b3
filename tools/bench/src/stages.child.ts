import { openBulkZip, readRows, rowReader } from '@lockstep/bulk-file';
import { coverageOf, leads } from '@lockstep/modules';
import { encodeSeen } from '@lockstep/record-log';

/* Times the stages of reading a page, each line with those before it. Prints seconds by stage as JSON. */

const [file = '', created = '0'] = process.argv.slice(2);
const span = { lowerMs: Number(created), upperMs: Date.now() };
const coverage = coverageOf(leads).id;

const seconds = async (work: () => Promise<void>): Promise<number> => {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
};

async function eachRow(onRow: (row: string[]) => void): Promise<void> {
  const entry = await openBulkZip(file);
  for await (const batch of readRows(entry.open(), () => undefined)) for (const row of batch) onRow(row);
}

async function observations(onRow: (row: Exclude<ReturnType<ReturnType<typeof rowReader>>, { problem: string }>) => void): Promise<void> {
  let read: ReturnType<typeof rowReader> | undefined;
  await eachRow((row) => {
    if (read === undefined) {
      read = rowReader(leads, row, { span });
      return;
    }
    const observation = read(row);
    if (!('problem' in observation)) onRow(observation);
  });
}

const result = {
  'unzip, with CRC check': await seconds(async () => void (await openBulkZip(file))),
  '+ unzip again, rows (csv-parse)': await seconds(() => eachRow(() => undefined)),
  '+ canonical values': await seconds(() => observations(() => undefined)),
  '+ JSON and hash': await seconds(() => observations((row) => void encodeSeen({ ...row, coverage }))),
};
process.stdout.write(JSON.stringify(result));

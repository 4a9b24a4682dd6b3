import { readFile } from 'node:fs/promises';

import { incidentKinds } from '@lockstep/postgres';
import { expect, test } from 'vitest';

test('the runbook has a section for each kind of incident, and none for another: alerts link to them', async () => {
  const runbook = await readFile(new URL('../../../docs/runbook.md', import.meta.url), 'utf8');
  const sections = [...runbook.matchAll(/^## (.*)$/gm)].map(([, title]) => title);
  expect(sections.toSorted((a, b) => String(a).localeCompare(String(b)))).toEqual([...incidentKinds].toSorted((a, b) => a.localeCompare(b)));
});

import { afterEach, describe, expect, test } from 'vitest';

import { httpDateMs } from './http-date.ts';

const zone = process.env['TZ'];
afterEach(() => {
  if (zone === undefined) delete process.env['TZ'];
  else process.env['TZ'] = zone;
});

describe('a Date', () => {
  test.each(['UTC', 'Europe/Berlin', 'America/New_York', 'Pacific/Kiritimati'])('is UTC whatever it says of its zone, on a host in %s', (hostZone) => {
    process.env['TZ'] = hostZone;
    for (const end of [' GMT', ' UTC', ' +0000', '']) expect(httpDateMs(`Mon, 04 May 2026 10:00:00${end}`)).toBe(Date.UTC(2026, 4, 4, 10));
  });

  test.each([
    '', '0', '2026', 'yesterday', '2026-05-04', '2026-05-04T10:00:00', 'Mon, 04 May 2026 10:00:00 CET', 'Mon, 04 May 2026 10:00:00 +0100', 'Monday, 04-May-26 10:00:00 GMT', 'Mon May  4 10:00:00 2026',
    'Tue, 31 Feb 2026 10:00:00 GMT', 'Mon, 04 May 2026 24:00:00 GMT', 'Sat, 31 Dec 2016 23:59:60 GMT', 'Mon, 04 May 2026 10:00:00 GMT, Mon, 04 May 2026 10:00:00 GMT', 'Mon, 04 Mai 2026 10:00:00 GMT',
  ])('of another form says nothing: %j', (header) => expect(httpDateMs(header)).toBeNaN());
});

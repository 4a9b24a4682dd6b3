import { z } from 'zod';

import { parseReply } from './json.ts';
import type { Transport } from './transport.ts';

/** What an organisation pays for, which decides how many credits it has. */
export type Edition = { /** As the CRM names it, e.g. `enterprise`; `free` while nothing is paid, as in a trial. */ readonly edition: string; /** Licences that were bought. */ readonly users: number };

const organisation = z.object({
  org: z.array(z.object({ license_details: z.object({ paid: z.boolean(), paid_type: z.string().nullish(), users_license_purchased: z.coerce.number().int().nonnegative().catch(0) }) })).min(1),
});

/**
 * The organisation's edition; needs the scope `ZohoCRM.org.READ`.
 * @see https://www.zoho.com/crm/developer/docs/api/v8/get-org-data.html
 */
export async function editionOf(transport: Transport, base: string): Promise<Edition> {
  const { text } = await transport.call({ method: 'GET', path: `${base}/org`, isRepeatable: false });
  const [{ license_details: { paid, paid_type: type, users_license_purchased: users } }] = parseReply(`GET ${base}/org`, organisation, text).org as [z.infer<typeof organisation>['org'][number]];
  return { edition: paid ? (type ?? '') : 'free', users };
}

import { fetchJson, type Lockstep } from '@lockstep/harness';
import type { Random } from '@lockstep/crm-simulator';
import pg from 'pg';

/** A fault that stays until it is lifted. */
export type PermanentFault = {
  /** What a person would say of it. */
  readonly name: string;
  /** Records that may be late while it stands, by id. */
  readonly touched: readonly string[];
  /** Lifts it. */
  readonly lift: () => Promise<void>;
};

/** What faults are made with. */
export type Ground = {
  readonly lockstep: Lockstep;
  readonly random: Random;
  /** A record of a module that no other fault touches. */
  readonly pick: (module: string) => string;
};

const admin = async <T>({ lockstep }: Ground, method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<T> =>
  await fetchJson<T>(`${lockstep.simulator?.url}/__simulator/${path}`, { method, ...(body === undefined ? {} : { body }) });

type Refused = { readonly method?: string; readonly url?: string; readonly body?: string; readonly status: number; readonly code: string; readonly details?: object };

async function refused(ground: Ground, name: string, refusal: Refused, touched: readonly string[] = []): Promise<PermanentFault> {
  const { id } = await admin<{ id: number }>(ground, 'POST', 'refusals', refusal);
  return { name, touched, lift: async () => void (await admin(ground, 'DELETE', `refusals/${id}`)) };
}

/** Runs statements, and others when the fault is lifted, in sessions of their own. */
async function inDatabase({ lockstep: { databaseUrl } }: Ground, name: string, touched: readonly string[], { plant, lift }: { readonly plant: string; readonly lift: string }): Promise<PermanentFault> {
  const run = async (sql: string): Promise<void> => {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  await run(plant);
  return { name, touched, lift: () => run(lift) };
}

const textOf: Readonly<Record<string, string>> = { Leads: 'Company', Deals: 'Description', Products: 'Manufacturer' };

/** Edits a record, so that the fault that touches it is met. */
export const edit = (ground: Ground, module: string, id: string): Promise<unknown> => admin(ground, 'POST', `records/${module}/${id}`, { [textOf[module] as string]: `Touched ${ground.random.below(1_000_000)}` });

/** Ten faults in ten places; which records they touch is decided by the seed. */
export const permanentFaults: readonly ((ground: Ground) => Promise<PermanentFault>)[] = [
  async (ground) => {
    const fault = await refused(ground, 'bulk jobs of Products are refused: a scope was withdrawn', { method: 'POST', url: '/read', body: 'Products', status: 403, code: 'OAUTH_SCOPE_MISMATCH' });
    await fetchJson(`${ground.lockstep.urls.scheduler}/modules/Products/refresh`, { method: 'POST' });
    return fault;
  },
  async (ground) => {
    const id = ground.pick('Leads');
    const fault = await refused(ground, `every query that names Lead ${id} fails`, { method: 'POST', url: '/coql', body: id, status: 500, code: 'INTERNAL_ERROR' }, [id]);
    await edit(ground, 'Leads', id);
    return fault;
  },
  async (ground) => {
    const id = ground.pick('Deals');
    await admin(ground, 'POST', 'shown', { module: 'Deals', id, field: 'Modified_Time', value: null });
    await edit(ground, 'Deals', id);
    return { name: `Deal ${id} has no modified time`, touched: [id], lift: async () => void (await admin(ground, 'POST', 'shown', { module: 'Deals', id, field: 'Modified_Time' })) };
  },
  async (ground) => {
    const id = ground.pick('Leads');
    const fault = await inDatabase(ground, `a trigger of the legacy application refuses Lead ${id}`, [id], {
      plant: `create function public.refuse_one() returns trigger language plpgsql as $$ begin if new.id = ${id} then raise exception 'not this one'; end if; return new; end $$;
        create trigger refuse_one before insert or update on public.leads for each row execute function public.refuse_one()`,
      lift: 'drop trigger refuse_one on public.leads; drop function public.refuse_one()',
    });
    await edit(ground, 'Leads', id);
    return fault;
  },
  async (ground) => {
    const id = ground.pick('Products');
    const client = new pg.Client({ connectionString: ground.lockstep.databaseUrl });
    await client.connect();
    await client.query(`begin; select from public.products where id = ${id} for update`);
    await edit(ground, 'Products', id);
    return { name: `a session holds Product ${id} locked`, touched: [id], lift: () => client.end() };
  },
  async (ground) => {
    const id = ground.pick('Deals');
    const fault = await inDatabase(ground, `a check of the table refuses Deal ${id}`, [id], { plant: `alter table public.deals add constraint not_this_one check (id <> ${id}) not valid`, lift: 'alter table public.deals drop constraint not_this_one' });
    await edit(ground, 'Deals', id);
    return fault;
  },
  async (ground) => await refused(ground, 'the list of deleted Deals fails', { method: 'GET', url: '/Deals/deleted', status: 500, code: 'INTERNAL_ERROR' }),
  async (ground) => await refused(ground, 'the fields of Products cannot be read', { method: 'GET', url: '/settings/fields?module=Products', status: 401, code: 'OAUTH_SCOPE_MISMATCH' }),
  async (ground) => await refused(ground, 'channels can neither be enabled nor extended', { url: '/actions/watch', status: 400, code: 'NOT_SUBSCRIBED' }),
  async (ground) => {
    const fault = await refused(ground, 'Leads can no longer be counted', { url: '/Leads/actions/count', status: 403, code: 'NO_PERMISSION' });
    await fetchJson(`${ground.lockstep.urls.scheduler}/modules/Leads/refresh`, { method: 'POST' });
    return fault;
  },
];

import type { FastifyInstance } from 'fastify';

import { users } from '../catalogue/pools.ts';
import { idOf, keyBase } from '../record-ids.ts';
import { nothing, paramsOf, type World } from './world.ts';

const role = { name: 'CEO', id: idOf(keyBase.users + 900) };
const profile = { name: 'Administrator', id: idOf(keyBase.users + 901) };

/** The licence that grants so many credits: 50,000 and 1,000 a user, or less without one. */
const licenceFor = (credits: number): object => {
  const isPaid = credits >= 50_000;
  return { paid: isPaid, paid_type: isPaid ? 'enterprise' : 'free', paid_expiry: null, trial_type: null, trial_expiry: null, trial_action: null, users_license_purchased: isPaid ? Math.floor((credits - 50_000) / 1_000) : 1 };
};

/** `GET /crm/v{n}/users` and `/org`: whom the token belongs to. */
export function peopleRoutes(app: FastifyInstance, world: World): void {
  const user = ({ id, name, email }: (typeof users)[number]) => ({
    id,
    full_name: name,
    first_name: name.split(' ')[0],
    last_name: name.split(' ').slice(1).join(' '),
    email,
    role,
    profile,
    status: 'active',
    confirm: true,
    time_zone: 'Asia/Kolkata',
    language: 'en_US',
    locale: 'en_US',
    country_locale: 'en_US',
    offset: Date.parse(`1970-01-01T00:00:00${world.options.utcOffset}`) * -1,
  });
  app.get('/users', async (request) => {
    const { type = 'AllUsers', page = '1', per_page = '200' } = paramsOf(request);
    const listed = type === 'CurrentUser' ? users.slice(0, 1) : users;
    return { users: listed.map(user), info: { per_page: Number(per_page), count: listed.length, page: Number(page), more_records: false } };
  });
  app.get<{ Params: { id: string } }>('/users/:id', async (request, reply) => {
    const found = users.find(({ id }) => id === request.params.id);
    return found === undefined ? nothing(reply, 204) : { users: [user(found)] };
  });
  app.get('/org', async () => ({
    org: [{
      id: idOf(keyBase.users + 990),
      zgid: '60000000001',
      company_name: 'Simulated Organisation',
      primary_email: users[0]?.email,
      time_zone: 'Asia/Kolkata',
      currency: 'US Dollar',
      iso_code: 'USD',
      country_code: 'IN',
      mc_status: true,
      type: 'production',
      license_details: licenceFor(world.options.credits),
    }],
  }));
}

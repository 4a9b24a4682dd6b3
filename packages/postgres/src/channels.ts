import type { Database } from './database.ts';
import { Channel, type ChannelRow } from './entities.ts';

/** The subscription channels as the CRM last granted them. */
export type Channels = {
  all(): Promise<ChannelRow[]>;
  /** Inserts or replaces the module's channel; when it was opened first stays. */
  save(channel: ChannelRow): Promise<void>;
};

/** Channels in `lockstep.channel`. */
export const channels = ({ orm }: Database): Channels => ({
  all: () => orm.em.fork().find(Channel, {}),
  save: async (channel) => void (await orm.em.fork().upsert(Channel, channel, { onConflictExcludeFields: ['openedAt'] })),
});

import type { ModuleSpec } from '../catalogue/catalogue.ts';
import type { Clock } from '../clock.ts';

export type Operation = 'create' | 'edit' | 'delete';

/** Fields that must be touched for an edit to be notified: names joined by and / or. */
export type FieldGroup = { readonly field: string } | { readonly operator: 'and' | 'or'; readonly parts: readonly FieldGroup[] };

/** A subscription channel. */
export type Channel = {
  readonly id: string;
  readonly events: ReadonlyMap<ModuleSpec, ReadonlySet<Operation>>;
  readonly notifyUrl: string;
  readonly token: string | null;
  readonly expiresAtMs: number;
  readonly returnValues: boolean;
  readonly relatedActions: boolean;
  /** As it was sent, for the listing. */
  readonly condition: unknown;
  /** By module API name. */
  readonly fieldGroups: ReadonlyMap<string, FieldGroup>;
};

/** The open channels. One that has run out is gone at once, without a notice. */
export class Channels {
  readonly #clock: Clock;
  readonly #channels = new Map<string, Channel>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(id: string): Channel | undefined {
    const channel = this.#channels.get(id);
    if (channel === undefined || channel.expiresAtMs > this.#clock.nowMs()) return channel;
    this.#channels.delete(id);
    return undefined;
  }

  put(channel: Channel): void {
    this.#channels.set(channel.id, channel);
  }

  /** @returns false when there was none. */
  remove(id: string): boolean {
    return this.#channels.delete(id);
  }

  list(): readonly Channel[] {
    return [...this.#channels.keys()].map((id) => this.get(id)).filter((channel) => channel !== undefined);
  }
}

/** @returns whether the touched fields satisfy a channel's condition. */
export function isTouched(group: FieldGroup, touched: ReadonlySet<string>): boolean {
  if ('field' in group) return touched.has(group.field);
  return group.operator === 'and' ? group.parts.every((part) => isTouched(part, touched)) : group.parts.some((part) => isTouched(part, touched));
}

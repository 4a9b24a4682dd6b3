import type { Random } from '@lockstep/crm-simulator';

type Member = string;

/**
 * A consumer group that hands partitions over at any moment. Who lost one may go on with it for a while: a process that was
 * paused, or cut off, does not know yet.
 */
export class VirtualGroup {
  readonly #now: () => number;
  readonly #owners = new Map<string, Member | null>();
  /** Who believes to own a partition although another one does, and until when. */
  readonly #zombies = new Map<string, { readonly member: Member; readonly untilMs: number }>();

  constructor({ partitions, now }: { partitions: readonly string[]; now: () => number }) {
    this.#now = now;
    for (const partition of partitions) this.#owners.set(partition, null);
  }

  /** Whether the member takes the partition for its own. */
  isHeld(member: Member, partition: string): boolean {
    const zombie = this.#zombies.get(partition);
    return this.#owners.get(partition) === member || (zombie?.member === member && this.#now() < zombie.untilMs);
  }

  /** Whether the member goes on with a partition that is another's. */
  isZombie(member: Member, partition: string): boolean {
    return this.#owners.get(partition) !== member && this.isHeld(member, partition);
  }

  /** Hands a partition to a member; the former owner does not know for so long. */
  assign(partition: string, member: Member, zombieMs: number): void {
    const former = this.#owners.get(partition) ?? null;
    if (former === member) return;
    this.#owners.set(partition, member);
    if (former !== null) this.#zombies.set(partition, { member: former, untilMs: this.#now() + zombieMs });
  }

  /** A member that joins gets what is no one's, and some of what is another's. */
  join(member: Member, random: Random): void {
    for (const [partition, owner] of this.#owners) if (owner === null || random.below(2) === 0) this.assign(partition, member, random.below(60_000));
  }

  /** What a member had is another's, or no one's. */
  leave(member: Member, heir: Member | null): void {
    for (const [partition, owner] of this.#owners) if (owner === member) this.#owners.set(partition, heir);
    for (const [partition, zombie] of this.#zombies) if (zombie.member === member) this.#zombies.delete(partition);
  }
}

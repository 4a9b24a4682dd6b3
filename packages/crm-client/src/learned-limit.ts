import { creditsOfEdition } from '@lockstep/completeness';
import type { Logger } from '@lockstep/telemetry';

import type { CrmClient } from './client.ts';
import type { CreditStore } from './credit-budget.ts';
import { CrmError } from './errors.ts';

const LEARN_EVERY_MS = 24 * 3_600_000;
/** A token without the scope is asked no more until the process is started again. */
const TRY_AGAIN_AFTER_MS = 3_600_000;

type LearnedLimitDeps = { readonly client: Pick<CrmClient, 'edition'>; readonly store: Pick<CreditStore, 'noteLimit'>; readonly log: Logger };

/** Learns the day's credits from the organisation's edition, once a day for all processes. */
export class LearnedLimit {
  readonly #deps: LearnedLimitDeps;
  #triedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: LearnedLimitDeps) {
    this.#deps = deps;
  }

  /** @param known what is noted already. */
  async learn(known: Awaited<ReturnType<CreditStore['limits']>>): Promise<void> {
    const { client, store, log } = this.#deps;
    if (known.some(({ source, ageMs }) => source === 'edition' && ageMs < LEARN_EVERY_MS)) return;
    if (performance.now() < this.#triedAt + TRY_AGAIN_AFTER_MS) return;
    this.#triedAt = performance.now();
    try {
      const edition = await client.edition();
      const perDay = creditsOfEdition(edition);
      if (Number.isFinite(perDay)) await store.noteLimit('edition', perDay);
      log.info({ ...edition, perDay }, 'the day\'s credits are as the edition grants them');
    } catch (error) {
      if (!(error instanceof CrmError)) throw error;
      if (!error.retryable) this.#triedAt = Number.POSITIVE_INFINITY;
      log.warn({ err: error }, 'the edition cannot be read, so the day\'s credits are learned from the CRM\'s header once half of them is used; set CRM_CREDITS_PER_DAY, or grant ZohoCRM.org.READ');
    }
  }
}

import { Migration } from '@mikro-orm/migrations';

import { allLettersFreshnessView } from '../left-out-freshness-view.ts';

/** The statement of freshness counts what could not be read and is of no module as well. */
export class CountAllLetters extends Migration {
  override up(): void {
    this.addSql(allLettersFreshnessView);
  }
}

import { Migration } from '@mikro-orm/migrations';

import { missingFieldsFreshnessView } from '../left-out-freshness-view.ts';

/** The statement of freshness counts the mapped fields that it says nothing about. */
export class CountMissingFields extends Migration {
  override up(): void {
    this.addSql(missingFieldsFreshnessView);
  }
}

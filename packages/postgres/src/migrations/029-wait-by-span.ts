import { Migration } from '@mikro-orm/migrations';

import { waitBySpanFunction } from '../wait-by-span-function.ts';

/** What waits for a record goes by a span, whatever becomes of the clock meanwhile. */
export class WaitBySpan extends Migration {
  override up(): void {
    this.addSql(waitBySpanFunction);
  }
}

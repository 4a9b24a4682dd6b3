import { CreateRegister } from './001-create-register.ts';
import { CreateJobs } from './002-create-jobs.ts';
import { CreateCompleteness } from './003-create-completeness.ts';
import { CreateIncidents } from './004-create-incidents.ts';
import { CreateCreditUse } from './006-create-credit-use.ts';
import { CreateLives } from './007-create-lives.ts';
import { AddPageEnds } from './008-add-page-ends.ts';
import { KeepParkedVersions } from './009-keep-parked-versions.ts';
import { AddListedTime } from './010-add-listed-time.ts';
import { CreateTextCut } from './012-create-text-cut.ts';
import { CreateClock } from './013-create-clock.ts';
import { AddTriedTime } from './014-add-tried-time.ts';
import { KeepParkedCoverage } from './015-keep-parked-coverage.ts';
import { KeepMappings } from './016-keep-mappings.ts';
import { CreateVerification } from './017-create-verification.ts';
import { CreateLogIndex } from './018-create-log-index.ts';
import { CreatePartitionState } from './019-create-partition-state.ts';
import { KeepAttempts } from './020-keep-attempts.ts';
import { KeepLooksAside } from './021-keep-looks-aside.ts';
import { CreateAlerts } from './022-create-alerts.ts';
import { NoteDiscards } from './023-note-discards.ts';
import { AddTryWanted } from './025-add-try-wanted.ts';

/** In the order they are applied. A published one is never changed. */
export const migrationsList = [
  { name: '001-create-register', class: CreateRegister },
  { name: '002-create-jobs', class: CreateJobs },
  { name: '003-create-completeness', class: CreateCompleteness },
  { name: '004-create-incidents', class: CreateIncidents },
  { name: '006-create-credit-use', class: CreateCreditUse },
  { name: '007-create-lives', class: CreateLives },
  { name: '008-add-page-ends', class: AddPageEnds },
  { name: '009-keep-parked-versions', class: KeepParkedVersions },
  { name: '010-add-listed-time', class: AddListedTime },
  { name: '012-create-text-cut', class: CreateTextCut },
  { name: '013-create-clock', class: CreateClock },
  { name: '014-add-tried-time', class: AddTriedTime },
  { name: '015-keep-parked-coverage', class: KeepParkedCoverage },
  { name: '016-keep-mappings', class: KeepMappings },
  { name: '017-create-verification', class: CreateVerification },
  { name: '018-create-log-index', class: CreateLogIndex },
  { name: '019-create-partition-state', class: CreatePartitionState },
  { name: '020-keep-attempts', class: KeepAttempts },
  { name: '021-keep-looks-aside', class: KeepLooksAside },
  { name: '022-create-alerts', class: CreateAlerts },
  { name: '023-note-discards', class: NoteDiscards },
  { name: '025-add-try-wanted', class: AddTryWanted },
];

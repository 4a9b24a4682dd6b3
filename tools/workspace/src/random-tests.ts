import fc from 'fast-check';

/*
 * Property tests make up the same cases in each run, so that a test fails by what was changed and by nothing else. Other cases are searched on
 * purpose: `LOCKSTEP_TEST_SEED=random` takes a seed of the moment, a number takes that one. A failure prints its seed; what it found
 * becomes a test by name.
 */
const { LOCKSTEP_TEST_SEED: wanted = '1' } = process.env;
if (wanted !== 'random') {
  const seed = Number(wanted);
  if (!Number.isInteger(seed)) throw new TypeError(`LOCKSTEP_TEST_SEED is '${wanted}': give a whole number, or 'random'.`);
  fc.configureGlobal({ seed });
}

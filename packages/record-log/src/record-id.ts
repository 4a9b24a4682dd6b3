const MAX_ID = '9223372036854775807';

/** Whether a text is the id of a CRM record: a whole number from 1 to 2^63 - 1, written without a sign or leading zeros. */
export const isRecordId = (text: string): boolean => /^[1-9]\d{0,18}$/.test(text) && (text.length < MAX_ID.length || text <= MAX_ID);

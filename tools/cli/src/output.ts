/** The option of each command that prints something. */
export const asJson = ['--json', 'as JSON', false] as const;

/** Prints a value as JSON, or its text for people. */
export const print = (isJson: boolean, value: unknown, text: () => string): void => void process.stdout.write(isJson ? `${JSON.stringify(value, null, 2)}\n` : text());

/** What the codes with which a command ends mean; the first line is blank. */
export const exitCodes = `
Exit codes:
  0  done; nothing differs, nothing would change
  1  something differs, would change or is left, a time-out has passed, or it failed (the text says why)
  2  it cannot be done so: a wrong argument, nothing runs, log, table or mapping do not allow it (the text says what to do)
  3  status: a module or the projector has a problem`;

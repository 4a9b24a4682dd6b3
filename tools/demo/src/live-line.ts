/** A line that is written over again and again on a terminal, and only when it changes a lot elsewhere. */
export type LiveLine = { show(text: string): void; done(): void };

const EVERY_MS = 5_000;

/** @param stream where to write; standard error for programs whose standard output is data. */
export function liveLine(stream: NodeJS.WriteStream): LiveLine {
  let shownAt = Number.NEGATIVE_INFINITY;
  let last = '';
  return {
    show: (text) => {
      if (text === last) return;
      if (stream.isTTY) stream.write(`\r\u001B[2K${text.slice(0, stream.columns - 1)}`);
      else if (performance.now() - shownAt >= EVERY_MS) stream.write(`${text}\n`);
      else return;
      last = text;
      shownAt = performance.now();
    },
    done: () => {
      if (stream.isTTY && last !== '') stream.write('\n');
    },
  };
}

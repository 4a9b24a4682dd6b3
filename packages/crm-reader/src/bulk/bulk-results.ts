import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { type BadLine, openBulkZip, readRows } from '@lockstep/bulk-file';
import type { CrmClient, Observed } from '@lockstep/crm-client';

/** The result of a bulk job, on its way in. */
export type BulkResult = {
  /** CRM times of the download. */
  readonly observed: Observed;
  /** Rows of the file without its header, where they were counted before the first of them is read. */
  readonly rowCount?: number;
  /** Arrays of cells, in batches; the first row is the header. @throws {BulkFileError} */
  readonly rows: (onBadLine: (bad: BadLine) => void) => AsyncIterable<string[][]>;
  /** Removes what was kept for it. */
  close(): Promise<void>;
};

/** Where results of bulk jobs come from. */
export type BulkResults = {
  /** @throws {CrmError} `CRM_NOT_FOUND` when the result is gone; {@link BulkFileError} when it is damaged. */
  open(jobId: string, signal: AbortSignal): Promise<BulkResult>;
};

/** Downloads each result into a folder, whole and checked, before its first row is read. */
export const downloadedResults = ({ crm, folder }: { crm: Pick<CrmClient, 'downloadBulkRead'>; folder: string }): BulkResults => ({
  open: async (jobId, signal) => {
    await mkdir(folder, { recursive: true });
    const file = join(folder, `bulk-${jobId}.zip`);
    const close = (): Promise<void> => rm(file, { force: true });
    try {
      const observed = await crm.downloadBulkRead({ jobId, file, signal });
      return { observed, close, ...(await rowsOf(file)) };
    } catch (error) {
      await close();
      throw error;
    }
  },
});

const DOWNLOAD = /^bulk-\d+\.zip$/;

/** Removes downloads that a killed reader has left. Only for the reader that holds the lease: no other one downloads. */
export async function removeLeftDownloads(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(folder)) if (DOWNLOAD.test(name)) await rm(join(folder, name), { force: true });
}

/** The rows of a ZIP on disk; nothing of a damaged one is given out. @throws {BulkFileError} */
export async function rowsOf(file: string): Promise<Pick<BulkResult, 'rows'> & { readonly rowCount: number }> {
  const entry = await openBulkZip(file);
  return { rowCount: Math.max(0, entry.rows - 1), rows: (onBadLine) => readRows(entry.open(), onBadLine, entry) };
}

/**
 * A call to the CRM that did not give what was requested.
 * - `CRM_UNREACHABLE`: no answer, a cut one, or given up before it was sent. Retryable; whether the CRM did the work is not known.
 * - `CRM_UNAVAILABLE`: 5xx, or an HTML page instead of JSON. Retryable.
 * - `CRM_RATE_LIMITED`: credits, concurrency or downloads a minute are used up. Retryable, after a pause.
 * - `CRM_BUDGET_SPENT`: not sent, as the budget of the day's credits has none for it now. Retryable: credits flow in all the time.
 * - `CRM_UNAUTHORIZED`: the token is refused, or has not the scope. Check client, refresh token and scopes; see README.
 * - `CRM_WRONG_DATA_CENTRE`: the token belongs to an organisation of another data centre. Set `CRM_DATA_CENTRE`.
 * - `CRM_NOT_FOUND`: no such job, or its result is gone (a result lives one day). Ask for a new one.
 * - `CRM_NOT_SUBSCRIBED`: the channel is unknown or has expired. Enable it.
 * - `CRM_PAGE_TOKEN_EXPIRED`: a page token is older than 24 h. Start the run again.
 * - `CRM_REFUSED`: any other 4xx; `crmCode` is the CRM's own word. Correct the request.
 * - `CRM_REPLY_UNEXPECTED`: an answer of a form this build does not know. Report it with the version in use.
 */
export class CrmError extends Error {
  readonly code: CrmErrorCode;
  readonly retryable: boolean;
  /** The CRM's own error code, e.g. `INVALID_MODULE`; `''` where it gave none. */
  readonly crmCode: string;
  /** What the CRM said of it besides, e.g. `{ column_name: 'Company' }`; names and places, never a record. */
  readonly details: CrmErrorDetails;

  constructor(message: string, code: CrmErrorCode, { crmCode = '', details = {}, ...options }: ErrorOptions & { crmCode?: string; details?: CrmErrorDetails } = {}) {
    super(message, options);
    this.name = 'CrmError';
    this.code = code;
    this.crmCode = crmCode;
    this.details = details;
    this.retryable = code === 'CRM_UNREACHABLE' || code === 'CRM_UNAVAILABLE' || code === 'CRM_RATE_LIMITED' || code === 'CRM_BUDGET_SPENT';
  }
}

/** The `details` of the CRM's error, as far as they are texts and numbers. */
export type CrmErrorDetails = Readonly<Record<string, string | number>>;

export type CrmErrorCode =
  | 'CRM_UNREACHABLE'
  | 'CRM_UNAVAILABLE'
  | 'CRM_RATE_LIMITED'
  | 'CRM_BUDGET_SPENT'
  | 'CRM_UNAUTHORIZED'
  | 'CRM_WRONG_DATA_CENTRE'
  | 'CRM_NOT_FOUND'
  | 'CRM_NOT_SUBSCRIBED'
  | 'CRM_PAGE_TOKEN_EXPIRED'
  | 'CRM_REFUSED'
  | 'CRM_REPLY_UNEXPECTED';

const byCrmCode: Readonly<Record<string, CrmErrorCode>> = {
  TOO_MANY_REQUESTS: 'CRM_RATE_LIMITED',
  RATE_LIMIT_EXCEEDED: 'CRM_RATE_LIMITED',
  INVALID_TOKEN: 'CRM_UNAUTHORIZED',
  AUTHENTICATION_FAILURE: 'CRM_UNAUTHORIZED',
  OAUTH_SCOPE_MISMATCH: 'CRM_UNAUTHORIZED',
  RESOURCE_NOT_FOUND: 'CRM_NOT_FOUND',
  NOT_SUBSCRIBED: 'CRM_NOT_SUBSCRIBED',
  EXPIRED_VALUE: 'CRM_PAGE_TOKEN_EXPIRED',
};

/**
 * What a failed answer means. The CRM's code decides where there is one, else the status; bodies may be HTML.
 * @see CRM API reference, "Status codes"
 */
export function errorOf(call: string, status: number, body: unknown): CrmError {
  const { code: crmCode, message, details } = errorBody(body);
  const code = byCrmCode[crmCode] ?? byStatus(status);
  const said = `${crmCode === '' ? '' : ` ${crmCode}`}${message === '' ? '' : `, "${message}"`}${Object.keys(details).length === 0 ? '' : ` ${JSON.stringify(details)}`}`;
  return new CrmError(`${call}: the CRM answered ${status}${said}`, code, { crmCode, details });
}

function byStatus(status: number): CrmErrorCode {
  if (status === 429) return 'CRM_RATE_LIMITED';
  if (status === 401) return 'CRM_UNAUTHORIZED';
  if (status === 404) return 'CRM_NOT_FOUND';
  return status >= 500 ? 'CRM_UNAVAILABLE' : 'CRM_REFUSED';
}

type ErrorBody = { readonly code: string; readonly message: string; readonly details: CrmErrorDetails };

/** Errors come bare, or as the first element of `data` or `watch`. */
function errorBody(body: unknown): ErrorBody {
  if (typeof body !== 'object' || body === null) return { code: '', message: '', details: {} };
  const wrapped = ['watch', 'data'].map((key) => (body as Record<string, unknown>)[key]).find((list) => Array.isArray(list));
  if (wrapped !== undefined) return errorBody((wrapped as unknown[])[0]);
  const { code, message, details } = body as { code?: unknown; message?: unknown; details?: unknown };
  return { code: typeof code === 'string' ? code : '', message: typeof message === 'string' ? message.slice(0, 200) : '', details: detailsOf(details) };
}

const MOST_DETAILS = 10;

/** What an operator needs of them, and no more: texts are cut, what is nested is left out. */
function detailsOf(details: unknown): CrmErrorDetails {
  if (typeof details !== 'object' || details === null) return {};
  const plain = Object.entries(details).filter((entry): entry is [string, string | number] => typeof entry[1] === 'string' || typeof entry[1] === 'number');
  return Object.fromEntries(plain.slice(0, MOST_DETAILS).map(([key, value]) => [key.slice(0, 50), typeof value === 'string' ? value.slice(0, 100) : value]));
}

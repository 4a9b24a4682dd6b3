/** A refusal in the CRM's form: `{code, details, message, status: "error"}` with an HTTP status. */
export class ApiError extends Error {
  readonly status: number;
  /** The vendor's word, e.g. `INVALID_DATA`. */
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;

  constructor(status: number, code: string, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.details = details;
    this.retryable = status === 429 || status >= 500;
  }

  body() {
    return { code: this.code, details: this.details, message: this.message, status: 'error' };
  }
}

/** `INVALID_MODULE`: the path or the query names a module there is not. */
export const invalidModule = (): ApiError => new ApiError(400, 'INVALID_MODULE', 'the module name given seems to be invalid', { resource_path_index: 0 });

/** `INVALID_DATA`: a value is of the wrong sort. */
export const invalidData = (details: Record<string, unknown>, message = 'invalid data'): ApiError => new ApiError(400, 'INVALID_DATA', message, details);

/** `MANDATORY_NOT_FOUND`: a key is missing. */
export const mandatoryNotFound = (details: Record<string, unknown>): ApiError => new ApiError(400, 'MANDATORY_NOT_FOUND', 'required field not found', details);

/** `TOO_MANY_REQUESTS`: credits, concurrency or downloads are used up. */
export const tooManyRequests = (): ApiError => new ApiError(429, 'TOO_MANY_REQUESTS', 'You have exceeded the allowed number of requests. Please try again later.');

/** A wrong use of the admin surface; not the vendor's. */
export class AdminError extends Error {
  readonly status: number;
  readonly code: 'UNKNOWN_MODULE' | 'UNKNOWN_FIELD' | 'UNKNOWN_RECORD' | 'UNKNOWN_CHANNEL' | 'UNKNOWN_FAULT' | 'READ_ONLY_FIELD' | 'WRONG_VALUE' | 'WRONG_REQUEST';
  readonly retryable = false;

  constructor(status: number, code: AdminError['code'], message: string) {
    super(message);
    this.name = 'AdminError';
    this.status = status;
    this.code = code;
  }
}

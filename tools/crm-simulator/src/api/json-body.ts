import type { FastifyRequest } from 'fastify';

import { ApiError } from '../errors.ts';

export type Json = Readonly<Record<string, unknown>>;

/** Ids may be sent as JSON numbers above 2^53: they are read as texts, before a double can cut them. */
const longNumber = /("(?:channel_id|id)"\s*:\s*)(-?\d{16,19})(?=\s*[,}\]])/g;

/** The body as a JSON object. @throws {ApiError} `INVALID_DATA` */
export function jsonBody(request: FastifyRequest): Json {
  const text = typeof request.body === 'string' ? request.body : '';
  const value = parse(text.replaceAll(longNumber, '$1"$2"'));
  if (!isObject(value)) throw new ApiError(400, 'INVALID_DATA', 'body', { expected_data_type: 'jsonobject' });
  return value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

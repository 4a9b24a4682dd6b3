/** As much of its encoder as kafkajs asks for. */
export type Encoded = { readonly buffer: Buffer };

/** A request as kafkajs sends it. */
export type RequestToFrame = {
  readonly request: { readonly apiKey: number; readonly apiVersion: number; readonly encode: () => Promise<Encoded> };
  readonly correlationId: number;
  readonly clientId: string | null;
};

/** A request as it goes over the wire, in a buffer of its size: its length, its header (version 1) and its body. */
export async function frameRequest({ request: { apiKey, apiVersion, encode }, correlationId, clientId }: RequestToFrame): Promise<Encoded> {
  const { buffer: body } = await encode();
  const name = clientId === null ? null : Buffer.from(clientId);
  const buffer = Buffer.allocUnsafe(4 + 2 + 2 + 4 + 2 + (name?.length ?? 0) + body.length);
  let at = buffer.writeInt32BE(buffer.length - 4, 0);
  at = buffer.writeInt16BE(apiKey, at);
  at = buffer.writeInt16BE(apiVersion, at);
  at = buffer.writeInt32BE(correlationId, at);
  at = buffer.writeInt16BE(name?.length ?? -1, at);
  at += name?.copy(buffer, at) ?? 0;
  body.copy(buffer, at);
  return { buffer };
}
